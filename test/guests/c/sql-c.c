/* Runs the statement in the first line of the body with the parameters in the rest of it. The query says which function (`op`), the
   format of the result (`format`) and the size of the first buffer (`cap`); `again` asks for the result again and again. */
#include "edgefn.h"

static char small[4096];

EDGEFN_HANDLER(request, response) {
  ef_text sql = request->body, params = {request->body.bytes, 0};
  int32_t end = 0;
  while (end < sql.length && sql.bytes[end] != '\n') end++;
  if (end < sql.length) {
    params = (ef_text){sql.bytes + end + 1, sql.length - end - 1};
    sql.length = end;
  }
  int32_t format = (int32_t)ef_parse(ef_query(request, "format"));
  int32_t cap = (int32_t)ef_parse(ef_query(request, "cap"));
  if (cap > (int32_t)sizeof small) cap = sizeof small;
  ef_header(response, "content-type", "application/octet-stream");
  int32_t result = 0;
  if (ef_equal(ef_query(request, "op"), EF_TEXT("query"))) {
    result = edgefn_sql_query(sql.bytes, sql.length, params.bytes, params.length, format, small, cap);
  } else {
    result = edgefn_sql_exec(sql.bytes, sql.length, params.bytes, params.length, format, small, cap);
  }
  ef_write(response, ef_number(result));
  ef_print(response, "\n");
  if (cap > 0) {
    ef_write(response, (ef_text){small, result < 0 ? 0 : result < cap ? result : cap});
    ef_print(response, "\n");
  }
  ef_write(response, ef_sql_result());
}
