/* GET /v1/codes: what codes are called, from the table of --code-titles. */
#include "handlers.h"
#include "problem.h"
#include "server.h"

#include "claims/event.h"
#include "import/titles.h"

#include <string.h>

enum { CODES_MAX = 500 };

/* "icd10:E11.9" of n characters. Answers with a problem itself. */
static bool read_code(request *r, const char *text, size_t n, rz_code_system *system,
                      char code[RZ_CODE_TEXT])
{
    const char *colon = memchr(text, ':', n);
    char name[16] = "";
    rz_error error = {0};
    size_t length = colon != NULL ? (size_t)(colon - text) : 0;
    if (length > 0 && length < sizeof name)
        memcpy(name, text, length);
    if (!rz_code_system_from_name(name, system)) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER,
                        "code is a list of SYSTEM:CODE with commas between, as in icd10:E11.9");
        return false;
    }
    if (rz_code_normalise(*system, colon + 1, n - length - 1, code, &error) != RZ_OK) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER, "code %s: %s", name, error.text);
        return false;
    }
    return true;
}

static json_t *code_json(const rz_titles *titles, rz_code_system system, const char *code)
{
    rz_title title = {NULL, NULL};
    if (titles != NULL)
        (void)rz_titles_find(titles, system, code, &title);
    return json_pack("{s:s, s:s, s:s?, s:s?}", "system", rz_code_system_name(system), "code", code,
                     "title", title.en, "title_ja", title.ja);
}

void codes_get(request *r)
{
    const char *list = request_query(r, "code");
    json_t *all = json_array();
    while (list != NULL && *list != '\0' && json_array_size(all) <= CODES_MAX) {
        size_t n = strcspn(list, ",");
        rz_code_system system;
        char code[RZ_CODE_TEXT];
        if (!read_code(r, list, n, &system, code)) {
            json_decref(all);
            return;
        }
        (void)json_array_append_new(all, code_json(r->server->titles, system, code));
        list += n + (list[n] == ',' ? 1 : 0);
    }
    size_t n = json_array_size(all);
    if (n > 0 && n <= CODES_MAX) {
        request_json(r, 200, json_pack("{s:o}", "codes", all));
        return;
    }
    json_decref(all);
    problem_answerf(r, PROBLEM_BAD_PARAMETER, "code names 1 to %d codes, as in icd10:E11.9",
                    CODES_MAX);
}
