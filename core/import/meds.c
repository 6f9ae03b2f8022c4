/* MEDS as CSV: subject_id, time, code, numeric_value; other columns are not read.
 *
 * The format has no claims: all codes of a subject on one day become one, whose id is a hash of its
 * content. A table of prefixes says what a code is. The rows of a subject must lie together, static
 * ones first, as MEDS has it: sex and birth come from them. Subjects are remembered (40 bytes each)
 * so that unsorted files are noticed. */
#include "claims/claim_json.h"
#include "import/map.h"
#include "import/reader.h"

#include "base/hash.h"
#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIXES_MAX = 1024, PREFIX_BYTES = 64, MEANING_IGNORE = RZ_KIND_COUNT };
enum { MEANING_BIRTH = MEANING_IGNORE + 1, MEANING_SEX };

typedef struct prefix {
    char text[PREFIX_BYTES];
    int meaning; /* an rz_kind, or one of MEANING_… */
    rz_code_system system;
    rz_setting setting; /* of encounters */
} prefix;

/* Local codes keep their prefix, codes of a system lose it. */
static const struct {
    const char *text, *meaning, *system;
} built_in[] = {
    {"MEDS_BIRTH", "birth", ""},
    {"MEDS_DEATH", "death", "local"},
    {"DEATH", "death", "local"},
    {"GENDER//", "sex", ""},
    {"Gender/", "sex", ""},
    {"DIAGNOSIS//ICD//10//", "diagnosis", "icd10cm"},
    {"DIAGNOSIS//ICD//9//", "diagnosis", "icd9cm"},
    {"PROCEDURE//ICD//9//", "procedure", "icd9cm"},
    {"PROCEDURE//", "procedure", "local"},
    {"HCPCS//", "procedure", "hcpcs"},
    {"MEDICATION//", "medication", "local"},
    {"INFUSION_START//", "medication", "local"},
    {"LAB//", "lab", "local"},
    {"HOSPITAL_ADMISSION", "encounter", "inpatient"},
    {"ICU_ADMISSION", "encounter", "inpatient"},
    {"ED_REGISTRATION", "encounter", "outpatient"},
    {"HOSPITAL_DISCHARGE", "ignore", ""},
    {"ICU_DISCHARGE", "ignore", ""},
    {"ED_OUT", "ignore", ""},
    {"TRANSFER_TO", "ignore", ""},
    {"Visit/IP", "encounter", "inpatient"},
    {"Visit/ERIP", "encounter", "inpatient"},
    {"Visit/", "encounter", "outpatient"},
    {"ICD10CM/", "diagnosis", "icd10cm"},
    {"ICD10/", "diagnosis", "icd10"},
    {"ICD9CM/", "diagnosis", "icd9cm"},
    {"ICD9Proc/", "procedure", "icd9cm"},
    {"ICD10PCS/", "procedure", "local"},
    {"SNOMED/", "diagnosis", "snomed"},
    {"RxNorm/", "medication", "rxnorm"},
    {"NDC/", "medication", "ndc"},
    {"ATC/", "medication", "atc"},
    {"CVX/", "medication", "local"},
    {"LOINC/", "lab", "loinc"},
    {"CPT4/", "procedure", "cpt"},
    {"HCPCS/", "procedure", "hcpcs"},
};

typedef struct meds {
    prefix *prefixes;
    size_t n_prefixes;
    rz_map subjects_seen;
    size_t next_file;
    int subject_column, time_column, code_column, value_column;
    bool row_waits; /* the current row is read but not used yet */
    bool has_subject;
    int64_t subject;
    rz_sex sex;
    int32_t birth_day, day; /* day: of the claim being put together */
    char patient_id[24], claim_id[40];
} meds;

/* ---- prefixes ------------------------------------------------------------------------------- */

static bool add_prefix(meds *m, const char *text, const char *meaning, const char *system)
{
    prefix *p = &m->prefixes[m->n_prefixes];
    rz_kind kind;
    size_t n = strlen(text);
    if (n == 0 || n >= PREFIX_BYTES)
        return false;
    *p = (prefix){.system = RZ_SYSTEM_LOCAL};
    memcpy(p->text, text, n + 1);
    if (strcmp(meaning, "birth") == 0)
        p->meaning = MEANING_BIRTH;
    else if (strcmp(meaning, "sex") == 0)
        p->meaning = MEANING_SEX;
    else if (strcmp(meaning, "ignore") == 0)
        p->meaning = MEANING_IGNORE;
    else if (rz_kind_from_name(meaning, &kind))
        p->meaning = (int)kind;
    else
        return false;
    if (p->meaning == RZ_KIND_ENCOUNTER) {
        if (!rz_setting_from_name(system, &p->setting))
            return false;
    } else if (p->meaning < MEANING_IGNORE && !rz_code_system_from_name(system, &p->system)) {
        return false;
    }
    m->n_prefixes++;
    return true;
}

/* A file of the columns prefix, kind, system takes the place of the built-in table. */
static rz_status read_prefixes(meds *m, const char *path, rz_error *error)
{
    rz_csv csv;
    int text, kind, system;
    rz_status status = rz_csv_open(&csv, path, error);
    if (status != RZ_OK)
        return status;
    status = rz_csv_require(&csv, "prefix", &text, error);
    if (status == RZ_OK)
        status = rz_csv_require(&csv, "kind", &kind, error);
    if (status == RZ_OK)
        status = rz_csv_require(&csv, "system", &system, error);
    bool more = true;
    while (status == RZ_OK) {
        status = rz_csv_next(&csv, &more, error);
        if (status != RZ_OK || !more)
            break;
        if (m->n_prefixes == PREFIXES_MAX)
            status =
                rz_fail(error, RZ_E_TOO_LARGE, "%s: more than %d prefixes", path, PREFIXES_MAX);
        else if (!add_prefix(m, rz_csv_field(&csv, text).text, rz_csv_field(&csv, kind).text,
                             rz_csv_field(&csv, system).text))
            status = rz_fail(error, RZ_E_FORMAT,
                             "%s: line %llu: give a prefix of 1 to %d bytes, a kind (diagnosis, "
                             "medication, procedure, lab, encounter, death, birth, sex or ignore) "
                             "and a code system, or the setting of an encounter",
                             path, (unsigned long long)csv.line, PREFIX_BYTES - 1);
    }
    rz_csv_close(&csv);
    return status;
}

/* The longest prefix that the code begins with; NULL when there is none. */
static const prefix *find_prefix(const meds *m, rz_field code)
{
    const prefix *best = NULL;
    size_t best_length = 0;
    for (size_t i = 0; i < m->n_prefixes; i++) {
        size_t n = strlen(m->prefixes[i].text);
        if (n > best_length && n <= code.n && memcmp(m->prefixes[i].text, code.text, n) == 0) {
            best = &m->prefixes[i];
            best_length = n;
        }
    }
    return best;
}

static rz_status open_meds(rz_import *import, rz_error *error)
{
    meds *m = calloc(1, sizeof *m);
    if (m == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to read MEDS");
    import->state = m;
    m->prefixes = calloc(PREFIXES_MAX, sizeof *m->prefixes);
    if (m->prefixes == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %d prefixes", PREFIXES_MAX);
    if (import->prefix_map != NULL)
        return read_prefixes(m, import->prefix_map, error);
    for (size_t i = 0; i < RZ_COUNT(built_in); i++)
        if (!add_prefix(m, built_in[i].text, built_in[i].meaning, built_in[i].system))
            return rz_fail(error, RZ_E_INTERNAL, "built-in prefix %zu is wrong", i);
    return RZ_OK;
}

static void close_meds(rz_import *import)
{
    meds *m = import->state;
    rz_map_done(&m->subjects_seen);
    free(m->prefixes);
    free(m);
}

/* ---- rows ----------------------------------------------------------------------------------- */

static rz_status next_file(rz_import *import, bool *more, rz_error *error)
{
    meds *m = import->state;
    const rz_csv *csv = &import->csv;
    rz_reader_close_file(import);
    *more = m->next_file < import->n_paths;
    if (!*more)
        return RZ_OK;
    rz_status status = rz_reader_open_file(import, m->next_file++, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "subject_id", &m->subject_column, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "time", &m->time_column, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "code", &m->code_column, error);
    if (status == RZ_OK)
        m->value_column = rz_csv_column(csv, "numeric_value");
    return status;
}

/* Makes the row's subject the current one. */
static rz_status change_subject(rz_import *import, int64_t subject, rz_error *error)
{
    meds *m = import->state;
    rz_map_entry *entry;
    bool is_new;
    if (m->has_subject && m->subject == subject)
        return RZ_OK;
    rz_status status = rz_map_add(&m->subjects_seen, subject, &entry, &is_new, error);
    if (status != RZ_OK)
        return status;
    if (!is_new)
        return rz_fail(error, RZ_E_FORMAT,
                       "%s: line %llu: the rows of a subject lie apart; sort by subject_id and "
                       "time, as MEDS has it",
                       import->csv.lines.path, (unsigned long long)import->csv.line);
    m->has_subject = true;
    m->subject = subject;
    m->sex = RZ_SEX_UNKNOWN;
    m->birth_day = RZ_DAY_NONE;
    (void)snprintf(m->patient_id, sizeof m->patient_id, "%lld", (long long)subject);
    return RZ_OK;
}

/* What follows the prefix, up to the next "//". */
static rz_field rest_of(rz_field code, const prefix *p)
{
    size_t n = strlen(p->text);
    rz_field rest = {code.text + n, code.n - n};
    const char *stop = strstr(rest.text, "//");
    if (stop != NULL)
        rest.n = (size_t)(stop - rest.text);
    return rest;
}

static void read_sex(rz_import *import, rz_field rest)
{
    meds *m = import->state;
    if (rest.n == 1 && rest.text[0] == 'F')
        m->sex = RZ_SEX_FEMALE;
    else if (rest.n == 1 && rest.text[0] == 'M')
        m->sex = RZ_SEX_MALE;
    else
        rz_reader_refuse(import, "sex that is neither F nor M");
}

static rz_status add_code(rz_import *import, const prefix *p, rz_field code, rz_error *error)
{
    meds *m = import->state;
    rz_event event = {.day = m->day,
                      .known_day = m->day,
                      .kind = (rz_kind)p->meaning,
                      .system = p->system,
                      .value = (double)NAN};
    if (event.kind == RZ_KIND_ENCOUNTER) {
        const char *setting = rz_setting_name(p->setting);
        code = (rz_field){setting, strlen(setting)};
    } else if (event.kind == RZ_KIND_DEATH) {
        code = (rz_field){"death", 5};
    } else if (p->system != RZ_SYSTEM_LOCAL) {
        code = rest_of(code, p);
    }
    if (event.kind == RZ_KIND_LAB)
        event.value = rz_reader_number(rz_csv_field(&import->csv, m->value_column));
    return rz_reader_add(import, &event, code, (rz_field){"", 0}, error);
}

/* Uses the waiting row, unless it belongs to another claim than the one being put together: then it
 * goes on waiting and *full says so. */
static rz_status use_row(rz_import *import, bool *full, rz_error *error)
{
    meds *m = import->state;
    rz_field code = rz_csv_field(&import->csv, m->code_column);
    int64_t subject;
    int32_t day;
    *full = false;
    m->row_waits = false;
    if (!rz_reader_integer(rz_csv_field(&import->csv, m->subject_column), &subject)) {
        rz_reader_refuse(import, RZ_REFUSED_NO_PATIENT);
        return RZ_OK;
    }
    bool same_subject = m->has_subject && m->subject == subject;
    if (import->n_events > 0 && !same_subject) {
        *full = m->row_waits = true;
        return RZ_OK;
    }
    rz_status status = change_subject(import, subject, error);
    if (status != RZ_OK)
        return status;
    const prefix *p = find_prefix(m, code);
    if (p == NULL || p->meaning == MEANING_IGNORE) {
        rz_reader_refuse(import, p == NULL ? "code without a known prefix"
                                           : "code that the prefix table leaves out");
        return RZ_OK;
    }
    if (p->meaning == MEANING_SEX) {
        read_sex(import, rest_of(code, p));
        return RZ_OK;
    }
    if (!rz_reader_day(import, rz_csv_field(&import->csv, m->time_column),
                       p->meaning == MEANING_BIRTH ? RZ_DAY_NONE : m->birth_day, &day))
        return RZ_OK;
    if (p->meaning == MEANING_BIRTH) {
        m->birth_day = day;
        return RZ_OK;
    }
    if (import->n_events > 0 && (day != m->day || import->n_events >= RZ_CLAIM_EVENTS_MAX)) {
        *full = m->row_waits = true;
        return RZ_OK;
    }
    if (import->n_events == 0) {
        rz_claim claim = {.claim_id = m->claim_id,
                          .patient_id = m->patient_id,
                          .sex = m->sex,
                          .birth_day = m->birth_day,
                          .start_day = day,
                          .end_day = day,
                          .known_day = day};
        m->day = day;
        rz_reader_begin(import, &claim);
    }
    return add_code(import, p, code, error);
}

/* Names the finished claim by what it says; sex and birth are the patient's, not the claim's. */
static rz_status name_claim(meds *m, rz_claim *claim, rz_error *error)
{
    unsigned char digest[RZ_SHA256_BYTES];
    rz_claim content = *claim;
    content.claim_id = "";
    content.sex = RZ_SEX_UNKNOWN;
    content.birth_day = RZ_DAY_NONE;
    rz_status status = rz_claim_digest(&content, digest, error);
    if (status == RZ_OK) {
        rz_hex(m->claim_id, digest, 16);
        claim->claim_id = m->claim_id;
    }
    return status;
}

static rz_status next_meds(rz_import *import, rz_claim *out, bool *more, rz_error *error)
{
    meds *m = import->state;
    for (;;) {
        bool file = true, full = false;
        rz_status status = RZ_OK;
        if (!m->row_waits && import->file_open)
            status = rz_reader_row(import, &m->row_waits, error);
        if (status == RZ_OK && m->row_waits)
            status = use_row(import, &full, error);
        else if (status == RZ_OK)
            status = next_file(import, &file, error);
        if (status != RZ_OK)
            return status;
        if ((full || !file) && rz_reader_finish(import, out)) {
            *more = true;
            return name_claim(m, out, error);
        }
        if (!file) {
            *more = false;
            return RZ_OK;
        }
    }
}

static const char *const suffixes[] = {".csv", NULL};

const rz_import_format rz_import_meds = {
    .name = "meds",
    .suffixes = suffixes,
    .csv = true,
    .open = open_meds,
    .next = next_meds,
    .close = close_meds,
};
