/* JSON written straight into a buffer, for answers that come often: the same bytes that jansson's
 * compact dump with 6 significant digits gives, without the tree. A failure is kept and ends the
 * writing; look at `status` once at the end. */
#ifndef REZEPTD_JSON_OUT_H
#define REZEPTD_JSON_OUT_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct json_out {
    rz_buffer *to; /* borrowed */
    rz_status status;
    bool comma; /* before the next member or element */
} json_out;

void json_out_open(json_out *o, char bracket); /* '{' or '[' */
void json_out_close(json_out *o, char bracket);
void json_out_name(json_out *o, const char *name); /* a constant that needs no escapes */
/* Values. NULL and numbers that are not finite are null; bytes that are no UTF-8 become U+FFFD. */
void json_out_text(json_out *o, const char *text);
void json_out_int(json_out *o, int64_t value);
void json_out_real(json_out *o, double value);
void json_out_raw(json_out *o, const char *json); /* JSON already */

/* A name and its value. */
void json_out_member_text(json_out *o, const char *name, const char *text);
void json_out_member_int(json_out *o, const char *name, int64_t value);
void json_out_member_real(json_out *o, const char *name, double value);

#endif
