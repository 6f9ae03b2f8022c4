/* Builds "/v1/…?a=b&c=d" from options: names are constants, values are escaped. */
#ifndef REZEPT_CLIENT_QUERY_H
#define REZEPT_CLIENT_QUERY_H

#include "base/buffer.h"

/* Appends text with everything but unreserved characters as %XX. */
RZ_MUST_CHECK rz_status query_escape(rz_buffer *path, const char *text);

/* Appends ?name=value or &name=value; a NULL value is left out. */
RZ_MUST_CHECK rz_status query_add(rz_buffer *path, const char *name, const char *value);

#endif
