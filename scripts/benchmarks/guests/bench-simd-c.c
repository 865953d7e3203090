/* The kernels that compute with vectors, behind the same paths. */
#define KERNELS_SIMD
#include "bench-scalar-c.c"
