/* Every format meets damaged copies of its own sample files: cut anywhere, bytes changed, pieces
 * repeated. An import may end with an error or with refusals, but it must end, in good order, and
 * what it hands out must fit the rules of a claim. */
#include "../unit/import/files.h"
#include "allocations.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/size.h"

#include <dirent.h>

enum { ROUNDS = 120 };

/* After so many allocations each one fails; a negative number lets all succeed. */
static long allocations_left = -1;

static bool allocation_fails(void)
{
    if (allocations_left > 0)
        allocations_left--;
    return allocations_left == 0;
}

typedef struct sample {
    char name[128];
    char *bytes;
    size_t n;
} sample;

static size_t load(const char *folder, sample *out, size_t cap)
{
    rz_error error = {0};
    size_t n = 0;
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char path[800];
        if (entry->d_name[0] == '.')
            continue;
        assert_true(n < cap);
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        (void)snprintf(out[n].name, sizeof out[n].name, "%.127s", entry->d_name);
        check_ok(rz_file_read(path, 1 << 20, &out[n].bytes, &out[n].n, &error));
        n++;
    }
    (void)closedir(listing);
    return n;
}

static uint32_t state_of_dice = 20240501;

static size_t dice(size_t below)
{
    state_of_dice = state_of_dice * 1664525u + 1013904223u;
    return below > 0 ? (state_of_dice >> 8) % below : 0;
}

/* One kind of damage, in place; returns the new length. There must be room for twice the length. */
static size_t damage(char *bytes, size_t n)
{
    static const char awkward[] = "\",\n\r\0\xff\xc3\x1f-9{}[]\\";
    size_t at = dice(n), length = dice(40);
    switch (dice(4)) {
    case 0:
        return at;
    case 1:
        for (size_t i = 0; i < 1 + length / 8 && n > 0; i++)
            bytes[dice(n)] = awkward[dice(sizeof awkward - 1)];
        return n;
    case 2:
        length = length < n - at ? length : n - at;
        memmove(bytes + at, bytes + at + length, n - at - length);
        return n - length;
    default:
        length = length < n - at ? length : n - at;
        memmove(bytes + at + length, bytes + at, n - at);
        return n + length;
    }
}

static void check_claim(const rz_claim *claim)
{
    assert_in_range(strlen(claim->claim_id), 1, 127);
    assert_in_range(strlen(claim->patient_id), 1, 127);
    assert_true(claim->start_day <= claim->end_day && claim->end_day <= claim->known_day);
    assert_true(claim->n_events > 0);
    for (size_t i = 0; i < claim->n_events; i++) {
        const rz_event *e = &claim->events[i];
        char again[RZ_CODE_TEXT];
        rz_error error = {0};
        assert_true(e->day <= e->known_day);
        assert_true(claim->birth_day == RZ_DAY_NONE || e->day >= claim->birth_day);
        check_ok(rz_code_normalise(e->system, e->code, strlen(e->code), again, &error));
        assert_string_equal(again, e->code);
    }
}

static rz_status run_as(const char *format, const char *folder, bool read_ahead)
{
    rz_error error = {0};
    rz_import_options options = rz_import_options_defaults();
    options.read_ahead = read_ahead;
    rz_import *import = NULL;
    bool more = true;
    rz_status status = rz_import_open(format, &folder, 1, &options, &import, &error);
    while (status == RZ_OK && more) {
        rz_claim claim;
        status = rz_import_next(import, &claim, &more, &error);
        if (status == RZ_OK && more)
            check_claim(&claim);
    }
    if (status != RZ_OK)
        assert_true(strlen(error.text) > 0 && status != RZ_E_INTERNAL);
    rz_import_close(import);
    return status;
}

/* Memory runs out at the first allocation, at the second, … until an import needs no more. */
static void starve(const char *format)
{
    char folder[512];
    const char *root = getenv("REZEPT_SOURCE_ROOT");
    assert_non_null(root);
    (void)snprintf(folder, sizeof folder, "%s/tests/data/import/%s", root, format);
    for (long n = 1;; n++) {
        allocations_left = n;
        rz_status status = run_as(format, folder, false);
        bool exhausted = allocations_left == 0;
        allocations_left = -1;
        if (!exhausted) {
            assert_int_equal(status, RZ_OK);
            assert_true(n > 5);
            break;
        }
        if (status != RZ_E_NO_MEMORY)
            fail_msg("allocation %ld fails: %s", n, rz_status_name(status));
    }
}

static void out_of_memory(void **state)
{
    (void)state;
    starve("native");
    starve("omop");
    starve("synpuf");
    starve("meds");
}

static void torture(const char *format, bool packed_too)
{
    sample samples[16];
    char folder[512], made[] = "/tmp/rezept-torture-XXXXXX", path[800];
    static packed p;
    const char *root = getenv("REZEPT_SOURCE_ROOT");
    assert_non_null(root);
    (void)snprintf(folder, sizeof folder, "%s/tests/data/import/%s", root, format);
    size_t n = load(folder, samples, RZ_COUNT(samples));
    assert_non_null(mkdtemp(made));
    for (int round = 0; round < ROUNDS; round++) {
        size_t victim = dice(n);
        for (size_t i = 0; i < n; i++) {
            char *bytes = malloc(samples[i].n * 2 + 1);
            assert_non_null(bytes);
            memcpy(bytes, samples[i].bytes, samples[i].n);
            size_t length = i == victim ? damage(bytes, samples[i].n) : samples[i].n;
            (void)snprintf(path, sizeof path, "%s/%s", made, samples[i].name);
            if (packed_too && i == victim && length > 0) {
                p.n = 0;
                round % 2 == 0 ? pack_gzip(&p, bytes, length) : pack_zstd(&p, bytes, length);
                if (round % 4 < 2)
                    p.n = damage((char *)p.bytes, p.n);
                rewrite_file(path, p.bytes, p.n);
            } else {
                rewrite_file(path, bytes, length);
            }
            free(bytes);
        }
        assert_int_equal(run_as(format, made, false), run_as(format, made, true));
    }
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", made, samples[i].name);
        (void)unlink(path);
        free(samples[i].bytes);
    }
    (void)rmdir(made);
}

static void native(void **state)
{
    (void)state;
    torture("native", false);
    torture("native", true);
}

static void omop(void **state)
{
    (void)state;
    torture("omop", false);
    torture("omop", true);
}

static void synpuf(void **state)
{
    (void)state;
    torture("synpuf", false);
}

static void meds(void **state)
{
    (void)state;
    torture("meds", false);
    torture("meds", true);
}

static int set_up(void **state)
{
    (void)state;
    return rz_hash_setup(NULL) == RZ_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(native), cmocka_unit_test(omop),
                                       cmocka_unit_test(synpuf), cmocka_unit_test(meds),
                                       cmocka_unit_test(out_of_memory)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
