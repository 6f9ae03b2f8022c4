/* CMS DE-SynPUF 2008-2010: beneficiary, carrier, inpatient, outpatient and prescription files.
 *
 * A claim row is a claim (CLM_ID, with "-2" for a further SEGMENT), a prescription is one (PDE_ID),
 * a death is one of its own ("death:" and the beneficiary). Beneficiaries are held in memory (40
 * bytes each), claims stream. The admitting diagnosis is left out: it is a first guess that the
 * coded diagnoses replace. Segments without dates, which the data has, are refused. */
#include "claims/claim_json.h"
#include "import/map.h"
#include "import/reader.h"

#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODE_COLUMNS_MAX = 256, ID_DIGITS = 16, CLAIM_ID_BYTES = 96, ROW_ID_MAX = 64 };

typedef enum file_kind { FILE_BENEFICIARY, FILE_CLAIMS, FILE_PRESCRIPTION } file_kind;

/* What the names of the files contain. */
static const struct file_type {
    const char *part;
    file_kind kind;
    rz_setting setting;
} file_types[] = {
    {"beneficiary_summary", FILE_BENEFICIARY, RZ_SETTING_UNKNOWN},
    {"carrier_claims", FILE_CLAIMS, RZ_SETTING_OUTPATIENT},
    {"inpatient_claims", FILE_CLAIMS, RZ_SETTING_INPATIENT},
    {"outpatient_claims", FILE_CLAIMS, RZ_SETTING_OUTPATIENT},
    {"prescription_drug_events", FILE_PRESCRIPTION, RZ_SETTING_PHARMACY},
};

/* What the numbered columns hold: ICD9_DGNS_CD_1 … */
static const struct {
    const char *prefix;
    rz_kind kind;
    rz_code_system system;
} code_columns[] = {
    {"icd9_dgns_cd_", RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD9CM},
    {"line_icd9_dgns_cd_", RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD9CM},
    {"icd9_prcdr_cd_", RZ_KIND_PROCEDURE, RZ_SYSTEM_ICD9CM},
    {"hcpcs_cd_", RZ_KIND_PROCEDURE, RZ_SYSTEM_HCPCS},
};

typedef struct synpuf {
    rz_map people; /* first: birth day, second: day of death, tag: rz_sex */
    size_t next_file, next_death;
    const struct file_type *type; /* of the open file */
    int id, patient, segment, start, end, code, days;
    struct {
        int column;
        rz_kind kind;
        rz_code_system system;
    } codes[CODE_COLUMNS_MAX];
    size_t n_codes;
    char claim_id[CLAIM_ID_BYTES], patient_id[ID_DIGITS + 1];
} synpuf;

static const struct file_type *type_of(const char *path)
{
    char stem[128];
    rz_reader_stem(path, stem, sizeof stem);
    for (size_t i = 0; i < RZ_COUNT(file_types); i++) {
        const char *at = strstr(stem, file_types[i].part);
        /* "inpatient_claims" is no part of "outpatient_claims", but be exact about the start. */
        if (at != NULL && (at == stem || at[-1] == '_'))
            return &file_types[i];
    }
    return NULL;
}

/* A beneficiary's id is 16 hexadecimal digits, kept as a number. */
static bool parse_id(rz_field field, int64_t *out)
{
    uint64_t value = 0;
    if (field.n != ID_DIGITS)
        return false;
    for (size_t i = 0; i < field.n; i++) {
        static const char digits[] = "0123456789ABCDEF";
        const char *digit = strchr(digits, field.text[i]);
        if (digit == NULL)
            return false;
        value = value << 4 | (uint64_t)(digit - digits);
    }
    memcpy(out, &value, sizeof value);
    return true;
}

/* ---- beneficiaries -------------------------------------------------------------------------- */

static rz_status add_person(rz_import *import, rz_field id, rz_field birth, rz_field death,
                            rz_field sex_code, rz_error *error)
{
    synpuf *s = import->state;
    int64_t key;
    int32_t birth_day, death_day = RZ_DAY_NONE;
    rz_map_entry *entry;
    bool is_new;
    if (!parse_id(id, &key)) {
        rz_reader_refuse(import, RZ_REFUSED_NO_PATIENT);
        return RZ_OK;
    }
    if (!rz_reader_day(import, birth, RZ_DAY_NONE, &birth_day) ||
        (death.n > 0 && !rz_reader_day(import, death, birth_day, &death_day)))
        return RZ_OK;
    rz_sex sex = strcmp(sex_code.text, "2") == 0   ? RZ_SEX_FEMALE
                 : strcmp(sex_code.text, "1") == 0 ? RZ_SEX_MALE
                                                   : RZ_SEX_UNKNOWN;
    rz_status status = rz_map_add(&s->people, key, &entry, &is_new, error);
    if (status != RZ_OK)
        return status;
    if (is_new) {
        import->summary.patients_listed++;
        entry->first = birth_day;
        entry->second = RZ_DAY_NONE;
        entry->tag = (uint32_t)sex;
    } else if (entry->first != birth_day || entry->tag != (uint32_t)sex) {
        rz_reader_refuse(import, "other sex or birth date than in another year's file");
        return RZ_OK;
    }
    if (death_day != RZ_DAY_NONE)
        entry->second = death_day;
    return RZ_OK;
}

static rz_status read_people(rz_import *import, rz_error *error)
{
    const rz_csv *csv = &import->csv;
    int id, birth, death, sex;
    rz_status status = rz_csv_require(csv, "desynpuf_id", &id, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "bene_birth_dt", &birth, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "bene_death_dt", &death, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "bene_sex_ident_cd", &sex, error);
    bool more = true;
    while (status == RZ_OK) {
        status = rz_reader_row(import, &more, error);
        if (status != RZ_OK || !more)
            break;
        status = add_person(import, rz_csv_field(csv, id), rz_csv_field(csv, birth),
                            rz_csv_field(csv, death), rz_csv_field(csv, sex), error);
    }
    return status;
}

static rz_status open_synpuf(rz_import *import, rz_error *error)
{
    synpuf *s = calloc(1, sizeof *s);
    if (s == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to read DE-SynPUF files");
    import->state = s;
    size_t n_people = 0, n_others = 0;
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < import->n_paths; i++) {
        const struct file_type *type = type_of(import->paths[i]);
        n_others += type != NULL && type->kind != FILE_BENEFICIARY;
        if (type == NULL)
            import->summary.bytes_total -= import->sizes[i]; /* not read */
        if (type == NULL || type->kind != FILE_BENEFICIARY)
            continue;
        n_people++;
        status = rz_reader_open_file(import, i, error);
        if (status == RZ_OK)
            status = read_people(import, error);
        rz_reader_close_file(import);
    }
    if (status == RZ_OK && n_people == 0)
        return rz_fail(error, RZ_E_NOT_FOUND,
                       "no DE-SynPUF Beneficiary_Summary file was given; sex and birth come "
                       "from it");
    if (status == RZ_OK && n_others == 0)
        return rz_fail(error, RZ_E_NOT_FOUND,
                       "none of the %zu files is a DE-SynPUF Carrier, Inpatient or Outpatient "
                       "Claims or Prescription Drug Events file",
                       import->n_paths);
    return status;
}

static void close_synpuf(rz_import *import)
{
    synpuf *s = import->state;
    rz_map_done(&s->people);
    free(s);
}

/* ---- claims --------------------------------------------------------------------------------- */

static rz_status find_columns(rz_import *import, rz_error *error)
{
    synpuf *s = import->state;
    const rz_csv *csv = &import->csv;
    bool drug = s->type->kind == FILE_PRESCRIPTION;
    s->n_codes = 0;
    s->segment = rz_csv_column(csv, "segment");
    rz_status status = rz_csv_require(csv, "desynpuf_id", &s->patient, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, drug ? "pde_id" : "clm_id", &s->id, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, drug ? "srvc_dt" : "clm_from_dt", &s->start, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, drug ? "srvc_dt" : "clm_thru_dt", &s->end, error);
    if (status == RZ_OK && drug)
        status = rz_csv_require(csv, "prod_srvc_id", &s->code, error);
    if (status == RZ_OK && drug)
        status = rz_csv_require(csv, "days_suply_num", &s->days, error);
    for (size_t i = 0; status == RZ_OK && i < csv->n_columns; i++) {
        for (size_t k = 0; k < RZ_COUNT(code_columns); k++) {
            size_t n = strlen(code_columns[k].prefix);
            if (strncmp(csv->names[i].text, code_columns[k].prefix, n) != 0)
                continue;
            if (s->n_codes == CODE_COLUMNS_MAX)
                return rz_fail(error, RZ_E_TOO_LARGE, "%s: line 1: more than %d columns of codes",
                               csv->lines.path, CODE_COLUMNS_MAX);
            s->codes[s->n_codes].column = (int)i;
            s->codes[s->n_codes].kind = code_columns[k].kind;
            s->codes[s->n_codes++].system = code_columns[k].system;
        }
    }
    if (status == RZ_OK && !drug && s->n_codes == 0)
        return rz_csv_require(csv, "icd9_dgns_cd_1", &s->code, error);
    return status;
}

/* The claim around the current row; false when the row was refused. */
static bool row_claim(rz_import *import, rz_claim *claim)
{
    synpuf *s = import->state;
    const rz_csv *csv = &import->csv;
    int64_t key;
    int32_t start, end;
    rz_field id = rz_csv_field(csv, s->id), patient = rz_csv_field(csv, s->patient);
    rz_field segment = rz_csv_field(csv, s->segment);
    const rz_map_entry *person = parse_id(patient, &key) ? rz_map_find(&s->people, key) : NULL;
    if (person == NULL || id.n == 0 || id.n > ROW_ID_MAX || segment.n > 8) {
        rz_reader_refuse(import, person == NULL ? RZ_REFUSED_UNKNOWN_PERSON : "no claim id");
        return false;
    }
    if (!rz_reader_day(import, rz_csv_field(csv, s->start), person->first, &start) ||
        !rz_reader_day(import, rz_csv_field(csv, s->end), person->first, &end))
        return false;
    if (end < start) {
        rz_reader_refuse(import, "end before start");
        return false;
    }
    bool first = segment.n == 0 || strcmp(segment.text, "1") == 0;
    (void)snprintf(s->claim_id, sizeof s->claim_id, "%s%s%s", id.text, first ? "" : "-",
                   first ? "" : segment.text);
    memcpy(s->patient_id, patient.text, sizeof s->patient_id);
    *claim = (rz_claim){.claim_id = s->claim_id,
                        .patient_id = s->patient_id,
                        .sex = (rz_sex)person->tag,
                        .birth_day = person->first,
                        .setting = s->type->setting,
                        .start_day = start,
                        .end_day = end,
                        .known_day = end};
    return true;
}

/* As with the native claim: every claim is an encounter, coded by its setting. */
static rz_status add_encounter(rz_import *import, const rz_claim *claim, rz_error *error)
{
    const char *setting = rz_setting_name(claim->setting);
    rz_event event = {.day = claim->start_day,
                      .known_day = claim->known_day,
                      .kind = RZ_KIND_ENCOUNTER,
                      .system = RZ_SYSTEM_LOCAL,
                      .value = (double)NAN};
    return rz_reader_add(import, &event, (rz_field){setting, strlen(setting)}, (rz_field){"", 0},
                         error);
}

static rz_status read_claim(rz_import *import, rz_error *error)
{
    const synpuf *s = import->state;
    rz_claim claim;
    if (!row_claim(import, &claim))
        return RZ_OK;
    rz_reader_begin(import, &claim);
    rz_status status = add_encounter(import, &claim, error);
    for (size_t i = 0; status == RZ_OK && i < s->n_codes; i++) {
        rz_field code = rz_csv_field(&import->csv, s->codes[i].column);
        if (code.n == 0)
            continue;
        rz_event event = {.day = claim.start_day,
                          .known_day = claim.known_day,
                          .kind = s->codes[i].kind,
                          .system = s->codes[i].system,
                          .value = (double)NAN};
        /* HCPCS level I is CPT, and other sources name it so. */
        if (event.system == RZ_SYSTEM_HCPCS && code.text[0] >= '0' && code.text[0] <= '9')
            event.system = RZ_SYSTEM_CPT;
        status = rz_reader_add(import, &event, code, (rz_field){"", 0}, error);
    }
    return status;
}

static rz_status read_prescription(rz_import *import, rz_error *error)
{
    const synpuf *s = import->state;
    rz_claim claim;
    if (!row_claim(import, &claim))
        return RZ_OK;
    rz_reader_begin(import, &claim);
    rz_status status = add_encounter(import, &claim, error);
    double days = rz_reader_number(rz_csv_field(&import->csv, s->days));
    rz_event event = {.day = claim.start_day,
                      .known_day = claim.known_day,
                      .kind = RZ_KIND_MEDICATION,
                      .system = RZ_SYSTEM_NDC,
                      .value = days > 0 ? days : (double)NAN};
    if (status == RZ_OK)
        status = rz_reader_add(import, &event, rz_csv_field(&import->csv, s->code),
                               days > 0 ? (rz_field){"d", 1} : (rz_field){"", 0}, error);
    return status;
}

/* The next beneficiary with a day of death; false after the last. */
static rz_status next_death(rz_import *import, rz_claim *out, bool *more, rz_error *error)
{
    synpuf *s = import->state;
    while (s->next_death < s->people.n && s->people.entries[s->next_death].second == RZ_DAY_NONE)
        s->next_death++;
    *more = s->next_death < s->people.n;
    if (!*more)
        return RZ_OK;
    const rz_map_entry *person = &s->people.entries[s->next_death++];
    (void)snprintf(s->patient_id, sizeof s->patient_id, "%016llX", (unsigned long long)person->key);
    (void)snprintf(s->claim_id, sizeof s->claim_id, "death:%s", s->patient_id);
    rz_claim claim = {.claim_id = s->claim_id,
                      .patient_id = s->patient_id,
                      .sex = (rz_sex)person->tag,
                      .birth_day = person->first,
                      .start_day = person->second,
                      .end_day = person->second,
                      .known_day = person->second};
    rz_event event = {.day = person->second,
                      .known_day = person->second,
                      .kind = RZ_KIND_DEATH,
                      .system = RZ_SYSTEM_LOCAL,
                      .value = (double)NAN};
    rz_reader_begin(import, &claim);
    rz_status status =
        rz_reader_add(import, &event, (rz_field){"death", 5}, (rz_field){"", 0}, error);
    if (status == RZ_OK)
        *more = rz_reader_finish(import, out);
    return status;
}

/* Opens the next file of claims; *more is false when there is none. */
static rz_status next_file(rz_import *import, bool *more, rz_error *error)
{
    synpuf *s = import->state;
    rz_reader_close_file(import);
    while (s->next_file < import->n_paths) {
        size_t index = s->next_file++;
        s->type = type_of(import->paths[index]);
        if (s->type == NULL || s->type->kind == FILE_BENEFICIARY)
            continue;
        *more = true;
        rz_status status = rz_reader_open_file(import, index, error);
        return status == RZ_OK ? find_columns(import, error) : status;
    }
    *more = false;
    return RZ_OK;
}

static rz_status next_synpuf(rz_import *import, rz_claim *out, bool *more, rz_error *error)
{
    const synpuf *s = import->state;
    for (;;) {
        bool row = false, file = true;
        rz_status status = RZ_OK;
        if (import->file_open)
            status = rz_reader_row(import, &row, error);
        if (status == RZ_OK && row)
            status = s->type->kind == FILE_PRESCRIPTION ? read_prescription(import, error)
                                                        : read_claim(import, error);
        else if (status == RZ_OK)
            status = next_file(import, &file, error);
        if (status != RZ_OK)
            return status;
        if (row && rz_reader_finish(import, out)) {
            *more = true;
            return RZ_OK;
        }
        if (!file)
            return next_death(import, out, more, error);
    }
}

static const char *const suffixes[] = {".csv", NULL};

const rz_import_format rz_import_synpuf = {
    .name = "synpuf",
    .suffixes = suffixes,
    .csv = true,
    .open = open_synpuf,
    .next = next_synpuf,
    .close = close_synpuf,
};
