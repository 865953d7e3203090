/* Kernels that compute and do nothing else: the same text for wasm and for this machine. Each returns a checksum. */
#ifndef KERNELS_H
#define KERNELS_H

#include <stdint.h>
#include <string.h>

#define KERNEL static __attribute__((noinline)) uint32_t

struct kernel {
  const char *name;
  uint32_t (*run)(uint32_t seed);
};

/* What a compiler must not know. */
static volatile uint32_t thirty = 30;

/* A stream of numbers without any state but its own. */
static inline uint32_t next(uint32_t *state) {
  uint32_t x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *state = x;
}

#ifndef KERNELS_SIMD

/* Recursion. */
static __attribute__((noinline)) uint32_t fib_of(uint32_t n) {
  return n < 2 ? n : fib_of(n - 1) + fib_of(n - 2);
}
KERNEL fib(uint32_t seed) { return fib_of(thirty) + seed; }

/* SHA-256 of 64 KiB. */
static const uint32_t sha_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
static uint8_t sha_data[65536];

static inline uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void sha_block(uint32_t h[8], const uint8_t *block) {
  uint32_t w[64];
  for (int i = 0; i < 16; i++) {
    w[i] = (uint32_t)block[i * 4] << 24 | (uint32_t)block[i * 4 + 1] << 16 |
           (uint32_t)block[i * 4 + 2] << 8 | block[i * 4 + 3];
  }
  for (int i = 16; i < 64; i++) {
    uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
    uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  uint32_t v[8];
  memcpy(v, h, sizeof v);
  for (int i = 0; i < 64; i++) {
    uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
    uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + sha_k[i] + w[i];
    uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
    uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    v[7] = v[6], v[6] = v[5], v[5] = v[4], v[4] = v[3] + t1;
    v[3] = v[2], v[2] = v[1], v[1] = v[0], v[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++) h[i] += v[i];
}

KERNEL sha256(uint32_t seed) {
  uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  sha_data[seed & 0xffff] ^= 1;
  for (uint32_t at = 0; at < sizeof sha_data; at += 64) sha_block(h, sha_data + at);
  uint8_t end[64] = {0x80};
  end[61] = 8; /* 65 536 bytes are 524 288 = 0x080000 bits. */
  sha_block(h, end);
  return h[0] ^ h[7];
}

/* Reads a JSON document of some 10 KiB: counts its values, adds its numbers. */
static char json_text[12288];
static uint32_t json_length;

struct json {
  const char *at, *end;
  uint32_t values, sum;
  int failed;
};

static void json_blanks(struct json *json) {
  while (json->at < json->end && (*json->at == ' ' || *json->at == '\n')) json->at++;
}

static void json_string(struct json *json) {
  uint32_t hash = 0;
  for (json->at++; json->at < json->end && *json->at != '"'; json->at++) {
    if (*json->at == '\\') json->at++;
    hash = hash * 31 + (uint8_t)*json->at;
  }
  json->at++;
  json->sum += hash;
}

static void json_value(struct json *json, int depth);

static void json_members(struct json *json, char close, int depth) {
  json->at++;
  json_blanks(json);
  while (json->at < json->end && *json->at != close && !json->failed) {
    if (close == '}') {
      json_string(json);
      json_blanks(json);
      if (*json->at++ != ':') json->failed = 1;
    }
    json_value(json, depth + 1);
    json_blanks(json);
    if (*json->at == ',') json->at++;
    json_blanks(json);
  }
  json->at++;
}

static __attribute__((noinline)) void json_value(struct json *json, int depth) {
  json_blanks(json);
  if (json->at >= json->end || depth > 32) {
    json->failed = 1;
    return;
  }
  json->values++;
  switch (*json->at) {
    case '{': json_members(json, '}', depth); break;
    case '[': json_members(json, ']', depth); break;
    case '"': json_string(json); break;
    case 't': case 'n': json->at += 4; break;
    case 'f': json->at += 5; break;
    default: {
      uint32_t number = 0;
      if (*json->at == '-') json->at++;
      if (*json->at < '0' || *json->at > '9') json->failed = 1;
      while (json->at < json->end && *json->at >= '0' && *json->at <= '9') {
        number = number * 10 + (uint32_t)(*json->at++ - '0');
      }
      json->sum += number;
    }
  }
}

static void json_add(const char *text) {
  size_t length = strlen(text);
  memcpy(json_text + json_length, text, length);
  json_length += (uint32_t)length;
}

static void json_make(void) {
  json_length = 0;
  json_add("[");
  for (int i = 0; i < 70; i++) {
    json_add(i == 0 ? "" : ", ");
    json_add("{\"id\": 12345, \"name\": \"A name with a \\\"quote\\\" in it\", \"active\": true, ");
    json_add("\"price\": -1299, \"tags\": [\"one\", \"two\", null, false], \"note\": \"\\u00fc\"}\n");
  }
  json_add("]");
}

KERNEL json(uint32_t seed) {
  if (json_length == 0) json_make();
  /* The first digit of the first number. */
  json_text[8] = (char)('1' + (seed & 7));
  struct json json = {json_text, json_text + json_length, 0, 0, 0};
  json_value(&json, 0);
  return json.failed ? 0 : json.sum ^ json.values;
}

/* A pattern of classes and repetitions, by backtracking: [a-z]+[0-9]*@[a-z]+.(any)(any), over 16 KiB. */
static char regex_text[16384];

struct element {
  char low, high;
  int least, most;
};
static const struct element pattern[] = {
    {'a', 'z', 1, 64}, {'0', '9', 0, 64}, {'@', '@', 1, 1}, {'a', 'z', 1, 64}, {'.', '.', 1, 1}, {'a', 'z', 2, 3}};

static __attribute__((noinline)) const char *match_from(uint32_t at, const char *text, const char *end) {
  if (at == sizeof pattern / sizeof *pattern) return text;
  const struct element *element = &pattern[at];
  int count = 0;
  while (count < element->most && text + count < end && text[count] >= element->low &&
         text[count] <= element->high) {
    count++;
  }
  for (; count >= element->least; count--) {
    const char *found = match_from(at + 1, text + count, end);
    if (found) return found;
  }
  return 0;
}

KERNEL regex(uint32_t seed) {
  uint32_t state = 2463534242u, matches = 0;
  if (regex_text[1] == 0) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789 @..";
    for (uint32_t i = 0; i < sizeof regex_text; i++) regex_text[i] = letters[next(&state) % (sizeof letters - 1)];
  }
  regex_text[0] = (char)('a' + (seed & 15));
  const char *end = regex_text + sizeof regex_text;
  for (const char *text = regex_text; text < end;) {
    const char *found = match_from(0, text, end);
    if (found) matches = matches * 31 + (uint32_t)(found - text);
    text = found ? found : text + 1;
  }
  return matches;
}

/* Product of two matrices of doubles, 96 x 96. */
enum { SIDE = 96 };
static double matrix_a[SIDE][SIDE], matrix_b[SIDE][SIDE], matrix_c[SIDE][SIDE];

KERNEL matrix(uint32_t seed) {
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE; j++) {
      matrix_a[i][j] = (double)((i + j + (int)(seed & 7)) & 15);
      matrix_b[i][j] = (double)((i * j) & 15);
    }
  }
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE; j++) {
      double sum = 0;
      for (int k = 0; k < SIDE; k++) sum += matrix_a[i][k] * matrix_b[k][j];
      matrix_c[i][j] = sum;
    }
  }
  return (uint32_t)matrix_c[seed % SIDE][17];
}

/* Primes below 400 000. */
static uint8_t composite[400000];

KERNEL sieve(uint32_t seed) {
  uint32_t primes = 0;
  memset(composite, 0, sizeof composite);
  for (uint32_t i = 2; i < sizeof composite; i++) {
    if (composite[i]) continue;
    primes++;
    for (uint32_t j = i + i; j < sizeof composite; j += i) composite[j] = 1;
  }
  return primes + seed;
}

/* The Mandelbrot set, 64 x 64 points, at most 100 steps each. */
KERNEL mandelbrot(uint32_t seed) {
  uint32_t total = 0;
  double shift = (double)(seed & 3) / 1024;
  for (int row = 0; row < 64; row++) {
    for (int column = 0; column < 64; column++) {
      double cx = column / 21.0 - 2.2 + shift, cy = row / 24.0 - 1.3, x = 0, y = 0;
      int step = 0;
      for (; step < 100 && x * x + y * y <= 4; step++) {
        double t = x * x - y * y + cx;
        y = 2 * x * y + cy;
        x = t;
      }
      total += (uint32_t)step;
    }
  }
  return total;
}

static const struct kernel kernels[] = {{"fib", fib},       {"sha256", sha256}, {"json", json},
                                        {"regex", regex},   {"matrix", matrix}, {"sieve", sieve},
                                        {"mandelbrot", mandelbrot}};

#else

typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));

/* The Mandelbrot set, four points at a time, always 100 steps. */
KERNEL mandelbrot(uint32_t seed) {
  i32x4 total = {0};
  float shift = (float)(seed & 3) / 1024;
  for (int row = 0; row < 64; row++) {
    for (int column = 0; column < 64; column += 4) {
      f32x4 step = {0, 1, 2, 3};
      f32x4 cx = (step + (float)column) / 21.0f - 2.2f + shift;
      f32x4 cy = (f32x4){0} + (row / 24.0f - 1.3f), x = {0}, y = {0};
      for (int i = 0; i < 100; i++) {
        f32x4 xx = x * x, yy = y * y;
        i32x4 inside = xx + yy <= 4.0f;
        total -= inside;
        f32x4 t = xx - yy + cx;
        y = (x + x) * y + cy;
        x = t;
      }
    }
  }
  return (uint32_t)(total[0] + total[1] + total[2] + total[3]);
}

/* Product of two matrices of floats, 128 x 128, four columns at a time. */
enum { SIDE = 128 };
static float matrix_a[SIDE][SIDE];
static f32x4 matrix_b[SIDE][SIDE / 4], matrix_c[SIDE][SIDE / 4];

KERNEL matrix(uint32_t seed) {
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE; j++) matrix_a[i][j] = (float)((i + j + (int)(seed & 7)) & 15);
    for (int j = 0; j < SIDE / 4; j++) matrix_b[i][j] = (f32x4){0} + (float)((i * j) & 15);
  }
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE / 4; j++) {
      f32x4 sum = {0};
      for (int k = 0; k < SIDE; k++) sum += matrix_a[i][k] * matrix_b[k][j];
      matrix_c[i][j] = sum;
    }
  }
  return (uint32_t)matrix_c[seed % SIDE][17][1];
}

/* How many of 256 KiB are letters, sixteen bytes at a time. */
static u8x16 letters[16384];

KERNEL count(uint32_t seed) {
  u32x4 total = {0};
  letters[seed & 16383][3] ^= 0x55;
  for (int block = 0; block < 16384; block += 128) {
    u8x16 sums = {0};
    for (int i = block; i < block + 128; i++) {
      u8x16 lower = letters[i] | 0x20;
      sums -= (u8x16)((lower >= 'a') & (lower <= 'z'));
    }
    for (int i = 0; i < 16; i++) total[i & 3] += sums[i];
  }
  return total[0] + total[1] + total[2] + total[3];
}

/* A hash of 128 KiB in four lanes. */
static u32x4 words[8192];

KERNEL hash(uint32_t seed) {
  u32x4 state = {1, 2, 3, 4};
  words[seed & 8191][1] ^= seed | 1;
  for (int i = 0; i < 8192; i++) {
    state = (state ^ words[i]) * 0x9e3779b1u;
    state ^= state >> 15;
    state += (state << 3) ^ (state >> 7);
  }
  return state[0] ^ state[1] ^ state[2] ^ state[3];
}

static const struct kernel kernels[] = {
    {"mandelbrot", mandelbrot}, {"matrix", matrix}, {"count", count}, {"hash", hash}};

#endif

enum { KERNELS = sizeof kernels / sizeof *kernels };

/* Runs a kernel so many times; the checksum of all. */
static uint32_t run_kernel(uint32_t kernel, uint32_t times) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < times; i++) sum = sum * 31 + kernels[kernel].run(i);
  return sum;
}

#endif
