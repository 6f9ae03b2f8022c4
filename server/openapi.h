/* schema/openapi.yaml as JSON, embedded by the build (openapi.py). */
#ifndef REZEPTD_OPENAPI_H
#define REZEPTD_OPENAPI_H

#include <stddef.h>

extern const char openapi_json[];
extern const size_t openapi_json_length;

#endif
