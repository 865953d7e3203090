/* Counts the visits of each path, on this node. Two visits at the same moment may count as one: keys have no locks. */
#include "edgefn.h"

EDGEFN_HANDLER(request, response) {
  ef_text visits = ef_number(ef_parse(ef_kv_get(request->path)) + 1);
  if (ef_kv_put(request->path, visits, 0) < 0) ef_status(response, 503);
  ef_count("visits", "language=c", 1);
  ef_header(response, "content-type", "text/plain");
  ef_write(response, visits);
}
