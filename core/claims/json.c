/* Strict JSON: what jansson accepts, less duplicate keys and deep nesting. Depth is counted before
 * parsing, so that no recursion of the parser follows the input. */
#include "claims/claim_json.h"

#include <string.h>

/* Finds the deepest nesting outside strings; tells where it first passes the limit. */
static bool too_deep(const char *text, size_t n, size_t *line, size_t *column)
{
    size_t depth = 0, line_start = 0;
    bool in_string = false;
    *line = 1;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            *column = i - line_start + 1;
            if (++depth > RZ_JSON_DEPTH_MAX)
                return true;
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        } else if (c == '\n') {
            *line += 1;
            line_start = i + 1;
        }
    }
    return false;
}

rz_status rz_json_parse(const char *text, size_t n, json_t **out, rz_error *error)
{
    size_t line, column = 0;
    if (too_deep(text, n, &line, &column))
        return rz_fail(error, RZ_E_FORMAT,
                       "line %zu, column %zu: JSON is nested deeper than %d levels", line, column,
                       RZ_JSON_DEPTH_MAX);
    json_error_t problem;
    json_t *document = json_loadb(text, n, JSON_REJECT_DUPLICATES, &problem);
    if (document == NULL) {
        /* Without memory jansson often fails before it finds words. */
        if (json_error_code(&problem) == json_error_out_of_memory || problem.text[0] == '\0')
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a JSON document of %zu bytes", n);
        /* What follows "near" is a piece of the document, which may be patient data. */
        char *near_text = strstr(problem.text, " near ");
        if (near_text != NULL)
            *near_text = '\0';
        return rz_fail(error, RZ_E_FORMAT, "line %d, column %d: %s", problem.line, problem.column,
                       problem.text);
    }
    if (!json_is_object(document)) {
        json_decref(document);
        return rz_fail(error, RZ_E_FORMAT, "line 1, column 1: a JSON object is expected here");
    }
    *out = document;
    return RZ_OK;
}
