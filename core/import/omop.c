/* OMOP CDM 5.2 to 5.4 as CSV, one file a table.
 *
 * The tables lie beside each other in no common order, so each row becomes a claim of its own with
 * the id "table:row id". Held in memory are persons, visits and concepts (about 40 bytes each); the
 * event tables stream. A row whose visit is known, is the same person's and covers the row's day is
 * known at the visit's end, because hospitals code at discharge; other rows at their own day.
 *
 * Which code stands for a row: the source concept, then the standard concept, where they resolve to
 * a system we know; then concepts of other vocabularies and source values as local codes. For drugs
 * the standard concept goes first: source codes name packages, RxNorm names drugs. */
#include "claims/claim_json.h"
#include "import/concepts.h"
#include "import/reader.h"

#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLAIM_ID_BYTES = 128, ROW_ID_MAX = 64 };

typedef struct table {
    const char *name;
    rz_kind kind;
    const char *id, *date, *concept, *source_concept, *source_value, *value, *unit;
} table;

static const table tables[] = {
    {"visit_occurrence", RZ_KIND_ENCOUNTER, "visit_occurrence_id", "visit_start_date",
     "visit_concept_id", NULL, NULL, NULL, NULL},
    {"condition_occurrence", RZ_KIND_DIAGNOSIS, "condition_occurrence_id", "condition_start_date",
     "condition_concept_id", "condition_source_concept_id", "condition_source_value", NULL, NULL},
    {"drug_exposure", RZ_KIND_MEDICATION, "drug_exposure_id", "drug_exposure_start_date",
     "drug_concept_id", "drug_source_concept_id", "drug_source_value", "days_supply", NULL},
    {"procedure_occurrence", RZ_KIND_PROCEDURE, "procedure_occurrence_id", "procedure_date",
     "procedure_concept_id", "procedure_source_concept_id", "procedure_source_value", NULL, NULL},
    {"measurement", RZ_KIND_LAB, "measurement_id", "measurement_date", "measurement_concept_id",
     "measurement_source_concept_id", "measurement_source_value", "value_as_number",
     "unit_source_value"},
    {"observation", RZ_KIND_DIAGNOSIS, "observation_id", "observation_date",
     "observation_concept_id", "observation_source_concept_id", "observation_source_value",
     "value_as_number", "unit_source_value"},
    {"device_exposure", RZ_KIND_PROCEDURE, "device_exposure_id", "device_exposure_start_date",
     "device_concept_id", "device_source_concept_id", "device_source_value", NULL, NULL},
    {"death", RZ_KIND_DEATH, "person_id", "death_date", NULL, NULL, NULL, NULL, NULL},
};

/* Numbers of the columns of the open table. */
typedef struct columns {
    int id, person, date, end, visit, concept, source_concept, source_value, value, unit;
} columns;

typedef struct omop {
    rz_concepts concepts;
    rz_map persons; /* first: birth day, tag: rz_sex */
    rz_map visits;  /* other: person, first and second: days, tag: rz_setting */
    size_t next_file;
    const table *table; /* of the open file */
    columns columns;
    char claim_id[CLAIM_ID_BYTES], patient_id[24];
} omop;

static int optional(const rz_csv *csv, const char *name)
{
    return name != NULL ? rz_csv_column(csv, name) : RZ_CSV_NO_COLUMN;
}

/* A date column; where only its datetime twin exists, that one. */
static rz_status require_date(const rz_csv *csv, const char *name, int *out, rz_error *error)
{
    char twin[64];
    (void)snprintf(twin, sizeof twin, "%stime", name);
    *out = rz_csv_column(csv, name);
    if (*out == RZ_CSV_NO_COLUMN)
        *out = rz_csv_column(csv, twin);
    return *out != RZ_CSV_NO_COLUMN ? RZ_OK : rz_csv_require(csv, name, out, error);
}

static rz_status find_columns(const rz_csv *csv, const table *t, columns *out, rz_error *error)
{
    columns c = {.end = rz_csv_column(csv, "visit_end_date"),
                 .visit = rz_csv_column(csv, "visit_occurrence_id"),
                 .concept = optional(csv, t->concept),
                 .source_concept = optional(csv, t->source_concept),
                 .source_value = optional(csv, t->source_value),
                 .value = optional(csv, t->value),
                 .unit = optional(csv, t->unit)};
    rz_status status = rz_csv_require(csv, t->id, &c.id, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "person_id", &c.person, error);
    if (status == RZ_OK)
        status = require_date(csv, t->date, &c.date, error);
    if (status == RZ_OK && t->concept != NULL)
        status = rz_csv_require(csv, t->concept, &c.concept, error);
    if (c.end == RZ_CSV_NO_COLUMN)
        c.end = rz_csv_column(csv, "visit_end_datetime");
    if (status == RZ_OK)
        *out = c;
    return status;
}

/* ---- what is read first --------------------------------------------------------------------- */

static rz_sex sex_of(rz_field concept)
{
    if (strcmp(concept.text, "8532") == 0)
        return RZ_SEX_FEMALE;
    return strcmp(concept.text, "8507") == 0 ? RZ_SEX_MALE : RZ_SEX_UNKNOWN;
}

/* The earliest day that fits what is given, so that no event of a first year precedes the birth. */
static int32_t birth_of(rz_field year, rz_field month, rz_field day, rz_field datetime)
{
    int64_t y = 0, m = 0, d = 0;
    int32_t whole = RZ_DAY_NONE, out = RZ_DAY_NONE;
    char text[40];
    if (rz_day_parse_loose(datetime.text, datetime.n, &whole))
        return whole;
    if (!rz_reader_integer(year, &y) || y < 1800 || y > 2400)
        return RZ_DAY_NONE;
    if (!rz_reader_integer(month, &m) || m < 1 || m > 12)
        m = d = 1;
    else if (!rz_reader_integer(day, &d) || d < 1 || d > 31)
        d = 1;
    (void)snprintf(text, sizeof text, "%04d-%02d-%02d", (int)y, (int)m, (int)d);
    return rz_day_parse(text, &out) ? out : rz_day_from_civil((int)y, (int)m, 1);
}

static rz_status read_persons(rz_import *import, rz_error *error)
{
    omop *o = import->state;
    const rz_csv *csv = &import->csv;
    int id, gender, year;
    rz_status status = rz_csv_require(csv, "person_id", &id, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "gender_concept_id", &gender, error);
    if (status == RZ_OK)
        status = rz_csv_require(csv, "year_of_birth", &year, error);
    int month = rz_csv_column(csv, "month_of_birth"), day = rz_csv_column(csv, "day_of_birth");
    int datetime = rz_csv_column(csv, "birth_datetime");
    bool more = true;
    while (status == RZ_OK) {
        int64_t key;
        rz_map_entry *entry;
        bool is_new;
        status = rz_reader_row(import, &more, error);
        if (status != RZ_OK || !more)
            break;
        if (!rz_reader_integer(rz_csv_field(csv, id), &key)) {
            rz_reader_refuse(import, RZ_REFUSED_NO_PATIENT);
            continue;
        }
        status = rz_map_add(&o->persons, key, &entry, &is_new, error);
        if (status != RZ_OK)
            break;
        if (!is_new) {
            rz_reader_refuse(import, "person listed twice");
            continue;
        }
        import->summary.patients_listed++;
        entry->tag = (uint32_t)sex_of(rz_csv_field(csv, gender));
        entry->first = birth_of(rz_csv_field(csv, year), rz_csv_field(csv, month),
                                rz_csv_field(csv, day), rz_csv_field(csv, datetime));
    }
    return status;
}

/* Inpatient, emergency with admission, hospital, intensive care, nursing and long-term care;
 * pharmacy visit; no visit type at all; everything else is seen without staying. */
static rz_setting setting_of(rz_field concept)
{
    static const char *const inpatient[] = {"9201",     "262",    "8717", "32037",
                                            "42898160", "581379", "8863", "8676"};
    for (size_t i = 0; i < RZ_COUNT(inpatient); i++)
        if (strcmp(concept.text, inpatient[i]) == 0)
            return RZ_SETTING_INPATIENT;
    if (strcmp(concept.text, "581458") == 0)
        return RZ_SETTING_PHARMACY;
    bool none = concept.n == 0 || strcmp(concept.text, "0") == 0;
    return none ? RZ_SETTING_UNKNOWN : RZ_SETTING_OUTPATIENT;
}

/* The last day of a stay; its first one when the end is missing, impossible or not yet over. */
static int32_t visit_end(const rz_import *import, rz_field end, int32_t start)
{
    int32_t day;
    bool usable =
        rz_day_parse_loose(end.text, end.n, &day) && day >= start && day <= import->latest_day;
    return usable ? day : start;
}

/* Rows are counted when the table is read for its claims, not here. */
static rz_status read_visits(rz_import *import, rz_error *error)
{
    omop *o = import->state;
    rz_csv *csv = &import->csv;
    columns c;
    rz_status status = find_columns(csv, &tables[0], &c, error);
    bool more = true;
    while (status == RZ_OK) {
        int64_t key, person;
        int32_t start;
        rz_map_entry *entry;
        bool is_new;
        status = rz_csv_next(csv, &more, error);
        if (status != RZ_OK || !more)
            break;
        rz_field date = rz_csv_field(csv, c.date);
        if (!rz_reader_integer(rz_csv_field(csv, c.id), &key) ||
            !rz_reader_integer(rz_csv_field(csv, c.person), &person) ||
            !rz_day_parse_loose(date.text, date.n, &start))
            continue;
        status = rz_map_add(&o->visits, key, &entry, &is_new, error);
        if (status != RZ_OK || !is_new)
            continue;
        entry->other = person;
        entry->first = start;
        entry->second = visit_end(import, rz_csv_field(csv, c.end), start);
        entry->tag = (uint32_t)setting_of(rz_csv_field(csv, c.concept));
    }
    return status;
}

static rz_status read_concepts(rz_import *import, rz_error *error)
{
    omop *o = import->state;
    return rz_concepts_read(&o->concepts, &import->csv, error);
}

/* Runs `read` over each file of one table; *found counts them. */
static rz_status read_table(rz_import *import, const char *name,
                            rz_status (*read)(rz_import *, rz_error *), size_t *found,
                            rz_error *error)
{
    rz_status status = RZ_OK;
    *found = 0;
    for (size_t i = 0; status == RZ_OK && i < import->n_paths; i++) {
        char stem[64];
        rz_reader_stem(import->paths[i], stem, sizeof stem);
        if (strcmp(stem, name) != 0)
            continue;
        ++*found;
        status = rz_reader_open_file(import, i, error);
        if (status == RZ_OK)
            status = read(import, error);
        rz_reader_close_file(import);
    }
    return status;
}

static const table *table_of(const char *path)
{
    char stem[64];
    rz_reader_stem(path, stem, sizeof stem);
    for (size_t i = 0; i < RZ_COUNT(tables); i++)
        if (strcmp(tables[i].name, stem) == 0)
            return &tables[i];
    return NULL;
}

static rz_status open_omop(rz_import *import, rz_error *error)
{
    size_t n_persons = 0, n_others = 0, n_events = 0;
    omop *o = calloc(1, sizeof *o);
    if (o == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to read OMOP tables");
    rz_concepts_init(&o->concepts);
    import->state = o;
    for (size_t i = 0; i < import->n_paths; i++) {
        char stem[64];
        const table *t = table_of(import->paths[i]);
        rz_reader_stem(import->paths[i], stem, sizeof stem);
        n_events += t != NULL;
        if (t == &tables[0])
            import->summary.bytes_total += import->sizes[i]; /* read twice */
        else if (t == NULL && strcmp(stem, "person") != 0 && strcmp(stem, "concept") != 0)
            import->summary.bytes_total -= import->sizes[i]; /* a table that is not read */
    }
    if (n_events == 0)
        return rz_fail(error, RZ_E_NOT_FOUND,
                       "none of the %zu files is an OMOP table with events, such as "
                       "condition_occurrence.csv",
                       import->n_paths);
    rz_status status = read_table(import, "person", read_persons, &n_persons, error);
    if (status == RZ_OK && n_persons == 0)
        return rz_fail(error, RZ_E_NOT_FOUND,
                       "the OMOP table person.csv is missing; sex and birth come from it");
    if (status == RZ_OK)
        status = read_table(import, "concept", read_concepts, &n_others, error);
    if (status == RZ_OK)
        status = read_table(import, "visit_occurrence", read_visits, &n_others, error);
    return status;
}

static void close_omop(rz_import *import)
{
    omop *o = import->state;
    rz_concepts_done(&o->concepts);
    rz_map_done(&o->persons);
    rz_map_done(&o->visits);
    free(o);
}

/* ---- rows to claims ------------------------------------------------------------------------- */

static bool resolve(const omop *o, rz_field id, bool standard, rz_concept *out)
{
    return rz_concepts_find(&o->concepts, id, out) && (out->system != RZ_SYSTEM_LOCAL) == standard;
}

/* The code that stands for a row, in the order that the head of this file gives. */
static bool row_code(const rz_import *import, rz_concept *out, rz_field *text, char local[40])
{
    const omop *o = import->state;
    const columns *c = &o->columns;
    rz_field source = rz_csv_field(&import->csv, c->source_concept);
    rz_field concept = rz_csv_field(&import->csv, c->concept);
    rz_field value = rz_csv_field(&import->csv, c->source_value);
    bool drug = o->table->kind == RZ_KIND_MEDICATION;
    bool found = drug && resolve(o, concept, true, out) && out->system == RZ_SYSTEM_RXNORM;
    found = found || resolve(o, source, true, out) || resolve(o, concept, true, out) ||
            resolve(o, source, false, out) || resolve(o, concept, false, out);
    if (found) {
        *text = (rz_field){out->code, strlen(out->code)};
        return true;
    }
    *out = (rz_concept){.system = RZ_SYSTEM_LOCAL, .kind = -1};
    while (value.n > 0 && value.text[value.n - 1] == ' ')
        value.n--;
    if (value.n > 0) {
        *text = value;
        return true;
    }
    int64_t id = 0;
    if ((!rz_reader_integer(source, &id) || id == 0) &&
        (!rz_reader_integer(concept, &id) || id == 0))
        return false;
    int n = snprintf(local, 40, "concept/%lld", (long long)id);
    *text = (rz_field){local, (size_t)n};
    return true;
}

/* Observations hold what fits nowhere else: the code's system says what it is. */
static rz_kind row_kind(const table *t, const rz_concept *concept, double value)
{
    if (concept->kind >= 0)
    return (rz_kind) concept->kind;
    if (strcmp(t->name, "observation") != 0)
        return t->kind;
    switch (concept->system) {
    case RZ_SYSTEM_CPT:
    case RZ_SYSTEM_HCPCS:
        return RZ_KIND_PROCEDURE;
    case RZ_SYSTEM_RXNORM:
    case RZ_SYSTEM_NDC:
    case RZ_SYSTEM_ATC:
        return RZ_KIND_MEDICATION;
    case RZ_SYSTEM_LOINC:
        return RZ_KIND_LAB;
    default:
        return isnan(value) ? t->kind : RZ_KIND_LAB;
    }
}

static rz_status add_code(rz_import *import, rz_event event, rz_error *error)
{
    const omop *o = import->state;
    rz_concept concept;
    rz_field text, unit = rz_csv_field(&import->csv, o->columns.unit);
    char local[40];
    if (!row_code(import, &concept, &text, local)) {
        import->summary.codes_by_kind[o->table->kind]++;
        rz_reader_refuse(import, RZ_REFUSED_NO_CODE);
        return RZ_OK;
    }
    double value = rz_reader_number(rz_csv_field(&import->csv, o->columns.value));
    event.kind = row_kind(o->table, &concept, value);
    event.system = concept.system;
    event.value = (double)NAN;
    if (event.kind == RZ_KIND_LAB)
        event.value = value;
    if (event.kind == RZ_KIND_MEDICATION && o->table->kind == RZ_KIND_MEDICATION && value > 0) {
        event.value = value;
        unit = (rz_field){"d", 1};
    }
    return rz_reader_add(import, &event, text, isnan(event.value) ? (rz_field){"", 0} : unit,
                         error);
}

/* The claim around the current row; false when the row was refused. */
static bool row_claim(rz_import *import, rz_claim *claim)
{
    omop *o = import->state;
    const columns *c = &o->columns;
    int64_t person, visit_id;
    int32_t day;
    rz_field id = rz_csv_field(&import->csv, c->id);
    if (!rz_reader_integer(rz_csv_field(&import->csv, c->person), &person)) {
        rz_reader_refuse(import, RZ_REFUSED_NO_PATIENT);
        return false;
    }
    const rz_map_entry *entry = rz_map_find(&o->persons, person);
    if (entry == NULL || id.n == 0 || id.n > ROW_ID_MAX) {
        rz_reader_refuse(import, entry == NULL ? RZ_REFUSED_UNKNOWN_PERSON : "no row id");
        return false;
    }
    if (!rz_reader_day(import, rz_csv_field(&import->csv, c->date), entry->first, &day))
        return false;
    (void)snprintf(o->claim_id, sizeof o->claim_id, "%s:%s", o->table->name, id.text);
    (void)snprintf(o->patient_id, sizeof o->patient_id, "%lld", (long long)person);
    *claim = (rz_claim){.claim_id = o->claim_id,
                        .patient_id = o->patient_id,
                        .sex = (rz_sex)entry->tag,
                        .birth_day = entry->first,
                        .start_day = day,
                        .end_day = day,
                        .known_day = day};
    const rz_map_entry *visit = NULL;
    if (rz_reader_integer(rz_csv_field(&import->csv, c->visit), &visit_id))
        visit = rz_map_find(&o->visits, visit_id);
    if (visit != NULL && visit->other == person && visit->first <= day && day <= visit->second) {
        claim->setting = (rz_setting)visit->tag;
        claim->known_day = visit->second;
    }
    return true;
}

static rz_status read_row(rz_import *import, rz_error *error)
{
    const omop *o = import->state;
    rz_claim claim;
    if (!row_claim(import, &claim))
        return RZ_OK;
    rz_event event = {.day = claim.start_day,
                      .kind = o->table->kind,
                      .system = RZ_SYSTEM_LOCAL,
                      .value = (double)NAN};
    const char *fixed = NULL;
    if (o->table->kind == RZ_KIND_DEATH) {
        fixed = "death";
    } else if (o->table->kind == RZ_KIND_ENCOUNTER) {
        claim.setting = setting_of(rz_csv_field(&import->csv, o->columns.concept));
        claim.end_day =
            visit_end(import, rz_csv_field(&import->csv, o->columns.end), claim.start_day);
        claim.known_day = claim.end_day;
        fixed = rz_setting_name(claim.setting);
    }
    event.known_day = claim.known_day;
    rz_reader_begin(import, &claim);
    if (fixed == NULL)
        return add_code(import, event, error);
    return rz_reader_add(import, &event, (rz_field){fixed, strlen(fixed)}, (rz_field){"", 0},
                         error);
}

/* Opens the next file that is an event table; *more is false when there is none. */
static rz_status next_table(rz_import *import, bool *more, rz_error *error)
{
    omop *o = import->state;
    rz_reader_close_file(import);
    while (o->next_file < import->n_paths) {
        size_t index = o->next_file++;
        o->table = table_of(import->paths[index]);
        if (o->table == NULL)
            continue;
        *more = true;
        rz_status status = rz_reader_open_file(import, index, error);
        return status == RZ_OK ? find_columns(&import->csv, o->table, &o->columns, error) : status;
    }
    *more = false;
    return RZ_OK;
}

static rz_status next_omop(rz_import *import, rz_claim *out, bool *more, rz_error *error)
{
    for (;;) {
        bool row = false, file = true;
        rz_status status = RZ_OK;
        if (import->file_open)
            status = rz_reader_row(import, &row, error);
        if (status == RZ_OK && row)
            status = read_row(import, error);
        else if (status == RZ_OK)
            status = next_table(import, &file, error);
        if (status != RZ_OK)
            return status;
        if (row && rz_reader_finish(import, out)) {
            *more = true;
            return RZ_OK;
        }
        if (!file) {
            *more = false;
            return RZ_OK;
        }
    }
}

static const char *const suffixes[] = {".csv", NULL};

const rz_import_format rz_import_omop = {
    .name = "omop",
    .suffixes = suffixes,
    .csv = true,
    .open = open_omop,
    .next = next_omop,
    .close = close_omop,
};
