/* GET /v1/whoami: who the caller is and what the token allows, so that a page can leave out what it
 * would be refused. */
#include "handlers.h"
#include "tokens.h"

void whoami_get(request *r)
{
    json_t *scopes = json_array();
    for (uint32_t left = r->scopes; left != 0;)
        (void)json_array_append_new(scopes, json_string(scopes_take(&left)));
    request_json(
        r, 200,
        json_pack("{s:s, s:o}", "name", r->has_token ? r->caller : "anonymous", "scopes", scopes));
}
