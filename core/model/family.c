/* The list of model families. */
#include "model/encoder/encoder.h"

#include <string.h>

const rz_family *rz_family_find(const char *name)
{
    static const rz_family *const families[] = {&rz_encoder_family};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i]->name, name) == 0)
            return families[i];
    return NULL;
}
