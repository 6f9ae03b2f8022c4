/* The token file and the command that changes it. */
#include "tokens.h"

#include "base/file.h"
#include "base/size.h"
#include "claims/day.h"
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const char *const scope_names[] = {
#define SCOPE_ROW(name) name,
    SCOPE_MAP(SCOPE_ROW)
#undef SCOPE_ROW
};

static const char usage[] =
    "usage: rezeptd token create --name NAME --scopes SCOPE,… [--expires YYYY-MM-DD] [--db PATH]\n"
    "       rezeptd token list [--db PATH]\n"
    "       rezeptd token revoke --name NAME [--db PATH]\n"
    "Scopes: claims:write patients:read patients:erase risks:read models:admin metrics:read\n"
    "feedback:write feedback:read, or all that there are now. A new token is printed once and "
    "kept\n"
    "only as a digest. From the first token on, every request needs one; a running daemon sees\n"
    "changes at once.\n";

uint32_t scopes_all(void)
{
    return (1u << RZ_COUNT(scope_names)) - 1;
}

const char *scopes_take(uint32_t *mask)
{
    int first = __builtin_ctz(*mask);
    *mask &= *mask - 1;
    return scope_names[first];
}

rz_status scopes_parse(const char *list, uint32_t *mask, rz_error *error)
{
    uint32_t bits = 0;
    for (const char *p = list; *p != '\0';) {
        size_t n = strcspn(p, ", "), i = 0;
        while (i < RZ_COUNT(scope_names) &&
               (strlen(scope_names[i]) != n || memcmp(scope_names[i], p, n) != 0))
            i++;
        if (n == 3 && memcmp(p, "all", 3) == 0)
            bits |= scopes_all();
        else if (n > 0 && i == RZ_COUNT(scope_names))
            return rz_fail(error, RZ_E_USAGE, "there is no scope \"%.*s\"; --help lists them",
                           (int)(n < 40 ? n : 40), p);
        else if (n > 0)
            bits |= 1u << i;
        p += n + (p[n] != '\0' ? 1 : 0);
    }
    *mask = bits;
    return RZ_OK;
}

static void scopes_text(uint32_t mask, char *out, size_t cap)
{
    out[0] = '\0';
    for (size_t i = 0; i < RZ_COUNT(scope_names); i++) {
        size_t used = strlen(out);
        if ((mask >> i & 1) != 0)
            (void)snprintf(out + used, cap - used, "%s%s", used > 0 ? "," : "", scope_names[i]);
    }
}

static rz_status path_of(const char *db, const char *suffix, char **out, rz_error *error)
{
    size_t n = strlen(db) + strlen(suffix) + 1;
    *out = malloc(n);
    if (*out == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a path");
    (void)snprintf(*out, n, "%s%s", db, suffix);
    return RZ_OK;
}

static bool read_day(const json_t *json, int32_t *out)
{
    *out = RZ_DAY_NONE;
    return json_is_null(json) ||
           (json_is_string(json) && rz_day_parse(json_string_value(json), out));
}

static rz_status read_token(const json_t *json, token *out, rz_error *error)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *sha256 = json_string_value(json_object_get(json, "sha256"));
    const char *scopes = json_string_value(json_object_get(json, "scopes"));
    if (name == NULL || sha256 == NULL || scopes == NULL || strlen(name) >= sizeof out->name ||
        strlen(sha256) != RZ_SHA256_TEXT - 1 ||
        !read_day(json_object_get(json, "created"), &out->created_day) ||
        !read_day(json_object_get(json, "expires"), &out->expires_day))
        return rz_fail(error, RZ_E_FORMAT, "a token lacks its name, sha256, scopes or dates");
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    (void)snprintf(out->sha256, sizeof out->sha256, "%s", sha256);
    out->revoked = json_is_true(json_object_get(json, "revoked"));
    return scopes_parse(scopes, &out->scopes, error);
}

rz_status tokens_read(const char *db, tokens *out, rz_error *error)
{
    char *path = NULL, *text = NULL;
    size_t n = 0;
    json_t *json = NULL;
    rz_status status = path_of(db, ".tokens.json", &path, error);
    if (status != RZ_OK)
        return status;
    memset(out, 0, sizeof *out);
    if (stat(path, &out->seen) != 0) {
        memset(&out->seen, 0, sizeof out->seen);
        status = errno == ENOENT ? RZ_OK : rz_fail_errno(error, errno, "cannot read %s", path);
        free(path);
        return status;
    }
    status = rz_file_read(path, 1 << 20, &text, &n, error);
    if (status == RZ_OK) {
        json = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
        const json_t *list = json_object_get(json, "tokens");
        if (!json_is_array(list) || json_array_size(list) > TOKENS_MAX)
            status =
                rz_fail(error, RZ_E_FORMAT, "not a token file of at most %d tokens", TOKENS_MAX);
        for (size_t i = 0; status == RZ_OK && i < json_array_size(list); i++)
            status = read_token(json_array_get(list, i), &out->item[out->n++], error);
        rz_error_prefix(error, "%s: ", path);
    }
    json_decref(json);
    free(text);
    free(path);
    return status;
}

bool tokens_changed(const char *db, const tokens *known)
{
    struct stat now = {0};
    char path[4096];
    (void)snprintf(path, sizeof path, "%s.tokens.json", db);
    if (stat(path, &now) != 0)
        memset(&now, 0, sizeof now);
    return now.st_ino != known->seen.st_ino || now.st_size != known->seen.st_size ||
           now.st_mtim.tv_sec != known->seen.st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != known->seen.st_mtim.tv_nsec;
}

static json_t *token_json(const token *t)
{
    char scopes[200], created[RZ_DAY_TEXT], expires[RZ_DAY_TEXT];
    scopes_text(t->scopes, scopes, sizeof scopes);
    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:b}", "name", t->name, "sha256", t->sha256,
                     "scopes", scopes, "created", rz_day_text(t->created_day, created), "expires",
                     t->expires_day == RZ_DAY_NONE ? NULL : rz_day_text(t->expires_day, expires),
                     "revoked", t->revoked);
}

static rz_status tokens_write(const char *db, const tokens *all, rz_error *error)
{
    char *path = NULL, *text = NULL;
    json_t *list = json_array(), *json = NULL;
    rz_status status = path_of(db, ".tokens.json", &path, error);
    for (size_t i = 0; i < all->n; i++)
        if (json_array_append_new(list, token_json(&all->item[i])) != 0)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu tokens", all->n);
    json = json_pack("{s:i, s:O}", "format_version", 1, "tokens", list);
    text = json != NULL ? json_dumps(json, JSON_INDENT(1)) : NULL;
    if (status == RZ_OK && text == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu tokens", all->n);
    if (status == RZ_OK)
        status = rz_file_write(path, text, strlen(text), error);
    if (status == RZ_OK && chmod(path, 0600) != 0)
        status = rz_fail_errno(error, errno, "cannot protect %s", path);
    free(text);
    free(path);
    json_decref(json);
    json_decref(list);
    return status;
}

static bool is_name(const char *name)
{
    size_t n = name != NULL ? strlen(name) : 0;
    return n > 0 && n < TOKEN_NAME_TEXT &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static rz_status create(const config *c, tokens *all, rz_error *error)
{
    const char *name = rz_options_text(c->options, "name");
    const char *scopes = rz_options_text(c->options, "scopes");
    const char *expires = rz_options_text(c->options, "expires");
    unsigned char secret[32];
    char text[4 + 2 * sizeof secret + 1] = "rzt_";
    if (!is_name(name) || scopes == NULL)
        return rz_fail(error, RZ_E_USAGE,
                       "a token needs --name (letters, digits, '.', '_', '-') and --scopes");
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->item[i].name, name) == 0)
            return rz_fail(error, RZ_E_CONFLICT, "there is a token %s already", name);
    if (all->n == TOKENS_MAX)
        return rz_fail(error, RZ_E_RANGE, "there are %d tokens, which is the limit", TOKENS_MAX);
    token *t = &all->item[all->n];
    *t = (token){.created_day = rz_day_today(), .expires_day = RZ_DAY_NONE};
    if (expires != NULL && (!rz_day_parse(expires, &t->expires_day)))
        return rz_fail(error, RZ_E_USAGE, "--expires %s is no date; write YYYY-MM-DD", expires);
    char today[RZ_DAY_TEXT];
    if (t->expires_day != RZ_DAY_NONE && t->expires_day < t->created_day)
        return rz_fail(
            error, RZ_E_USAGE,
            "--expires %s is over: a token is valid up to this day, and today is %s (UTC)", expires,
            rz_day_text(t->created_day, today));
    rz_status status = scopes_parse(scopes, &t->scopes, error);
    if (status != RZ_OK)
        return status;
    rz_random_bytes(secret, sizeof secret);
    rz_hex(text + 4, secret, sizeof secret);
    rz_sha256 hash;
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, text, strlen(text));
    rz_sha256_text(&hash, t->sha256);
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    all->n++;
    status = tokens_write(c->db, all, error);
    if (status == RZ_OK)
        (void)puts(text);
    return status;
}

static rz_status revoke(const config *c, tokens *all, rz_error *error)
{
    const char *name = rz_options_text(c->options, "name");
    for (size_t i = 0; name != NULL && i < all->n; i++) {
        if (strcmp(all->item[i].name, name) == 0) {
            all->item[i].revoked = true;
            return tokens_write(c->db, all, error);
        }
    }
    return rz_fail(error, RZ_E_NOT_FOUND, "there is no token %s; `rezeptd token list` shows them",
                   name != NULL ? name : "without --name");
}

static void list(const tokens *all)
{
    (void)printf("%-24s %-10s %-10s %-8s %s\n", "name", "created", "expires", "state", "scopes");
    for (size_t i = 0; i < all->n; i++) {
        const token *t = &all->item[i];
        char scopes[200], created[RZ_DAY_TEXT], expires[RZ_DAY_TEXT];
        bool over = t->expires_day != RZ_DAY_NONE && rz_day_today() > t->expires_day;
        scopes_text(t->scopes, scopes, sizeof scopes);
        (void)printf("%-24s %-10s %-10s %-8s %s\n", t->name, rz_day_text(t->created_day, created),
                     rz_day_text(t->expires_day, expires),
                     t->revoked ? "revoked"
                     : over     ? "expired"
                                : "valid",
                     scopes);
    }
}

rz_status tokens_command(int argc, char *const *argv, rz_error *error)
{
    config c;
    bool stop = false;
    char *lock_path = NULL;
    int lock = -1;
    const char *const *operands = NULL;
    const char *verb = "";
    tokens *all = calloc(1, sizeof *all);
    rz_status status = config_read(&c, argc, argv, usage, &stop, error);
    if (status == RZ_OK && all == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the tokens");
    if (status != RZ_OK || stop)
        goto out;
    if (rz_options_operands(c.options, &operands) == 1)
        verb = operands[0];
    status = path_of(c.db, ".tokens.lock", &lock_path, error);
    if (status != RZ_OK)
        goto out;
    lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) != 0) {
        status = rz_fail_errno(error, errno, "cannot lock %s", lock_path);
        goto out;
    }
    status = tokens_read(c.db, all, error);
    if (status != RZ_OK)
        goto out;
    if (strcmp(verb, "create") == 0)
        status = create(&c, all, error);
    else if (strcmp(verb, "revoke") == 0)
        status = revoke(&c, all, error);
    else if (strcmp(verb, "list") == 0)
        list(all);
    else
        status = rz_fail(error, RZ_E_USAGE, "rezeptd token takes create, list or revoke");
out:
    if (lock >= 0)
        (void)close(lock);
    free(lock_path);
    free(all);
    config_done(&c);
    return status;
}
