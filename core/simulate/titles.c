/* The names that the tables carry, written out for people who read simulated claims. A code is in
 * one row of one table. */
#include "simulate/simulate.h"

#include "base/file.h"
#include "simulate/tables.h"

static void write_title(FILE *out, const char *system, const char *code, const char *title,
                        const char *title_ja)
{
    (void)fprintf(out, "%s,%s,\"%s\",\"%s\"\n", system, code, title, title_ja);
}

rz_status rz_simulate_titles(FILE *out, rz_error *error)
{
    (void)fputs("system,code,title,title_ja\n", out);
    for (size_t i = 0; i < rz_sim_n_diagnoses; i++)
        write_title(out, "icd10", rz_sim_diagnoses[i].code, rz_sim_diagnoses[i].title, "");
    for (size_t i = 0; i < rz_sim_n_backgrounds; i++)
        write_title(out, "icd10", rz_sim_backgrounds[i].code, rz_sim_backgrounds[i].title, "");
    for (size_t i = 0; i < rz_sim_n_drugs; i++)
        write_title(out, "yj", rz_sim_drugs[i].code, rz_sim_drugs[i].ingredient,
                    rz_sim_drugs[i].name);
    return rz_output_flush(out, "the titles", error);
}
