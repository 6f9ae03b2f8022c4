#include "check.h"

#include "import/titles.h"
#include "simulate/simulate.h"
#include "simulate/world.h"

#include <unistd.h>
#include <zlib.h>

static rz_sim_world world;

static int setup(void **state)
{
    (void)state;
    rz_error error = {0};
    return rz_sim_world_init(&world, 1, 4, 0.0, &error) == RZ_OK ? 0 : -1;
}

/* A code means one thing: it is in one row of one table. */
static void codes_are_unique(void **state)
{
    (void)state;
    for (size_t i = 0; i < rz_sim_n_diagnoses; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(world.diagnosis[i], world.diagnosis[j]) == 0)
                fail_msg("diagnosis %s is in two rows", world.diagnosis[i]);
    for (size_t i = 0; i < rz_sim_n_backgrounds; i++) {
        for (size_t j = 0; j < i; j++)
            if (strcmp(world.background[i], world.background[j]) == 0)
                fail_msg("background %s is in two rows", world.background[i]);
        for (size_t j = 0; j < rz_sim_n_diagnoses; j++)
            if (strcmp(world.background[i], world.diagnosis[j]) == 0)
                fail_msg("background %s is the code of a condition", world.background[i]);
    }
    for (size_t i = 0; i < rz_sim_n_drugs; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(world.drug[i], world.drug[j]) == 0)
                fail_msg("drug %s is in two rows", world.drug[i]);
}

static void every_row_has_a_title(void **state)
{
    (void)state;
    for (size_t i = 0; i < rz_sim_n_diagnoses; i++)
        assert_true(strlen(rz_sim_diagnoses[i].title) > 2 && rz_sim_diagnoses[i].weight > 0.0);
    for (size_t i = 0; i < rz_sim_n_backgrounds; i++)
        assert_true(strlen(rz_sim_backgrounds[i].title) > 2 &&
                    rz_sim_backgrounds[i].per_1000 > 0.0);
    for (size_t i = 0; i < rz_sim_n_drugs; i++)
        assert_true(strlen(rz_sim_drugs[i].ingredient) > 2 && strlen(rz_sim_drugs[i].name) > 2);
}

/* Coefficients: no pair twice, nothing acts on itself, everything can happen. */
static void hazards_fit_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < rz_sim_n_additions; i++) {
        const rz_sim_addition *a = &rz_sim_additions[i];
        assert_true(a->target < RZ_SIM_ITEMS && a->source < RZ_SIM_DEATH);
        assert_true(a->target != a->source && a->ever >= 0.0 && a->recent >= 0.0);
        for (size_t j = 0; j < i; j++)
            if (rz_sim_additions[j].target == a->target && rz_sim_additions[j].source == a->source)
                fail_msg("two additions of %s to %s", rz_sim_item_name(a->source),
                         rz_sim_item_name(a->target));
    }
    for (size_t i = 0; i < rz_sim_n_ratios; i++) {
        const rz_sim_ratio *r = &rz_sim_ratios[i];
        assert_true(r->target < RZ_SIM_ITEMS && r->source < RZ_SIM_DEATH);
        assert_true(r->target != r->source && r->ever > 0.0 && r->recent > 0.0);
        for (size_t j = 0; j < i; j++)
            if (rz_sim_ratios[j].target == r->target && rz_sim_ratios[j].source == r->source)
                fail_msg("two ratios of %s on %s", rz_sim_item_name(r->source),
                         rz_sim_item_name(r->target));
    }
    for (unsigned item = 0; item < RZ_SIM_ITEMS; item++) {
        bool can_happen = false;
        for (int band = 0; band < RZ_SIM_AGE_BANDS; band++)
            can_happen |= rz_sim_bases[item].per_1000[band] > 0.0;
        for (size_t i = 0; i < rz_sim_n_additions; i++)
            can_happen |= rz_sim_additions[i].target == item;
        if (!can_happen)
            fail_msg("%s can never happen", rz_sim_item_name(item));
    }
}

/* Every drug code stands in the price list, where that is at hand. */
static void drugs_are_in_the_price_list(void **state)
{
    (void)state;
    char path[512];
    if (check_shared_data("code-tables/jp_mhlw_drug_price_20250716.csv.gz", path, sizeof path) ==
        NULL)
        skip();
    gzFile file = gzopen(path, "rb");
    assert_non_null(file);
    static bool found[RZ_SIM_CODES_MAX];
    char line[4096];
    size_t lines = 0, missing = 0;
    while (gzgets(file, line, sizeof line) != NULL) {
        /* kind, code, …; neither is ever quoted */
        char *code = strchr(line, ',');
        lines++;
        if (code == NULL || strlen(code) < 14 || code[13] != ',')
            continue;
        for (size_t i = 0; i < rz_sim_n_drugs; i++)
            found[i] |= strncmp(code + 1, rz_sim_drugs[i].code, 12) == 0;
    }
    (void)gzclose(file);
    assert_true(lines > 10000);
    for (size_t i = 0; i < rz_sim_n_drugs; i++) {
        if (!found[i])
            print_message("# not in the price list: %s\n", rz_sim_drugs[i].code);
        missing += !found[i];
    }
    assert_int_equal(missing, 0);
}

/* The written table can be read, and every code has its name. */
static void titles_can_be_read(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_titles *titles = NULL;
    rz_title found;
    char path[] = "/tmp/rezept-titles-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    FILE *out = fdopen(file, "w");
    assert_non_null(out);
    check_ok(rz_simulate_titles(out, &error));
    assert_int_equal(fclose(out), 0);
    check_ok(rz_titles_read(path, &titles, &error));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rz_titles_count(titles),
                     rz_sim_n_diagnoses + rz_sim_n_backgrounds + rz_sim_n_drugs);
    for (size_t i = 0; i < rz_sim_n_drugs; i++) {
        assert_true(rz_titles_find(titles, RZ_SYSTEM_YJ, rz_sim_drugs[i].code, &found));
        assert_string_equal(found.en, rz_sim_drugs[i].ingredient);
        assert_string_equal(found.ja, rz_sim_drugs[i].name);
    }
    assert_true(rz_titles_find(titles, RZ_SYSTEM_YJ, "2149042", &found));
    assert_string_equal(found.en, "telmisartan");
    rz_titles_free(titles);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_unique), cmocka_unit_test(titles_can_be_read),
        cmocka_unit_test(every_row_has_a_title), cmocka_unit_test(hazards_fit_together),
        cmocka_unit_test(drugs_are_in_the_price_list)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
