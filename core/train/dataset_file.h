/* The cache file, shared by its writer and its reader: the patients' rows one after the other, the
 * index, the code table, and a trailer that says where they are. Native byte order: the file never
 * leaves the machine and lives as long as a run. */
#ifndef RZ_TRAIN_DATASET_FILE_H
#define RZ_TRAIN_DATASET_FILE_H

#include <stdint.h>

#define DATASET_MAGIC "RZCACHE1"

typedef struct dataset_event {
    int32_t day, known_day;
    uint32_t code; /* place in the code table */
    uint8_t kind, system, setting, flags;
} dataset_event;

typedef struct dataset_day {
    int32_t day, data_end_day, facility;
} dataset_day;

typedef struct dataset_entry {
    int64_t patient;
    uint64_t hash, offset; /* the patient's name; where events, then claim days begin */
    uint64_t digest;       /* rz_hash64 of these bytes */
    uint32_t n_events, n_days;
    int32_t birth_day;
    int32_t sex;
} dataset_entry;

typedef struct dataset_trailer {
    uint64_t n_patients, index_offset;
    uint64_t n_codes, codes_offset, codes_bytes; /* NUL-terminated texts */
    uint64_t digest;                             /* of index and code texts */
    char data_sha256[72];
    char magic[8];
} dataset_trailer;

#endif
