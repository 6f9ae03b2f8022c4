/* Percent-encoding after RFC 3986, section 2. */
#include "query.h"

#include <ctype.h>
#include <string.h>

rz_status query_escape(rz_buffer *path, const char *text)
{
    rz_status status = RZ_OK;
    for (const char *p = text; *p != '\0' && status == RZ_OK; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x80 && (isalnum(c) || strchr("-._~", c) != NULL))
            status = rz_buffer_add(path, p, 1);
        else
            status = rz_buffer_addf(path, "%%%02X", c);
    }
    return status;
}

rz_status query_add(rz_buffer *path, const char *name, const char *value)
{
    if (value == NULL)
        return RZ_OK;
    rz_status status =
        rz_buffer_addf(path, "%c%s=", strchr(path->data, '?') == NULL ? '?' : '&', name);
    return status == RZ_OK ? query_escape(path, value) : status;
}
