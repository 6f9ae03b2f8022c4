/* The safetensors reader against files that are damaged, foreign or hostile, all made here. */
#include "check.h"
#include "folder.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/size.h"
#include "model/safetensors.h"

#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/rezept-safetensors-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    rz_error error = {0};
    if (temp_folder(folder) == NULL || rz_hash_setup(&error) != RZ_OK)
        return -1;
    (void)snprintf(path, sizeof path, "%s/x.safetensors", folder);
    return 0;
}

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A file of announced length n, header text and data; written without fsync, there are many. */
static void make_file(uint64_t n, const char *header, size_t header_bytes, const void *data,
                      size_t data_bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        (void)fputc((int)(n >> (8 * i) & 255), file);
    if (header_bytes > 0)
        assert_int_equal(fwrite(header, 1, header_bytes, file), header_bytes);
    if (data_bytes > 0)
        assert_int_equal(fwrite(data, 1, data_bytes, file), data_bytes);
    assert_int_equal(fclose(file), 0);
}

static void make_plain(const char *header, size_t n_floats)
{
    static const float data[64];
    make_file(strlen(header), header, strlen(header), data, n_floats * sizeof *data);
}

/* Two tensors with padding between them in memory, and metadata. */
static void write_good(void)
{
    rz_error error = {0};
    float block[48];
    for (int i = 0; i < 48; i++)
        block[i] = (float)i;
    rz_tensor_spec tensors[] = {
        {.name = "second", .rank = 1, .shape = {5}, .offset = 16, .count = 5},
        {.name = "first.weight", .rank = 2, .shape = {2, 3}, .offset = 0, .count = 6}};
    rz_metadata_pair metadata[] = {{"format", "rezept-model"}, {"quote", "a\"\\\xC3\xA9"}};
    check_ok(rz_safetensors_write(path, tensors, 2, block, metadata, 2, &error));
}

static void written_is_read(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_safetensors *file;
    const rz_safetensor *tensors;
    float values[6];
    write_good();
    check_ok(rz_safetensors_open(path, &file, &error));
    assert_int_equal(rz_safetensors_tensors(file, &tensors), 2);
    assert_string_equal(tensors[0].name, "first.weight");
    assert_int_equal(tensors[0].rank, 2);
    assert_int_equal(tensors[0].shape[1], 3);
    assert_int_equal(tensors[0].offset % 8, 0);
    assert_int_equal(tensors[1].offset, tensors[0].offset + 24);
    assert_string_equal(rz_safetensors_metadata(file, "quote"), "a\"\\\xC3\xA9");
    assert_null(rz_safetensors_metadata(file, "missing"));
    check_ok(rz_safetensors_read(file, rz_safetensors_find(file, "second"), values, &error));
    for (int i = 0; i < 5; i++)
        check_near(values[i], 16 + i, 0);
    assert_null(rz_safetensors_find(file, "third"));
    rz_safetensors_close(file);
}

enum { LARGE = 3000001 }; /* floats: more than a round of reading, and no multiple of its pieces */

/* Three tensors, one of them large, with gaps between them in memory. */
static void write_large(float *block)
{
    rz_error error = {0};
    for (size_t i = 0; i < LARGE + 64; i++)
        block[i] = (float)(i % 9973) - 5000.0f;
    rz_tensor_spec tensors[] = {
        {.name = "a", .rank = 1, .shape = {7}, .offset = 0, .count = 7},
        {.name = "b", .rank = 1, .shape = {LARGE}, .offset = 16, .count = LARGE},
        {.name = "c", .rank = 1, .shape = {1}, .offset = 32 + LARGE / 16 * 16, .count = 1}};
    check_ok(rz_safetensors_write(path, tensors, 3, block, NULL, 0, &error));
}

/* Every byte at its place and under the file's digest, on any number of threads. */
static void all_is_read_and_digested_at_once(void **state)
{
    (void)state;
    rz_error error = {0};
    float *written = calloc(LARGE + 64, sizeof *written), *b = malloc(LARGE * sizeof *b);
    char wanted[RZ_SHA256_TEXT], sha256[RZ_SHA256_TEXT];
    uint64_t size;
    assert_true(written != NULL && b != NULL);
    write_large(written);
    check_ok(rz_file_digest(path, wanted, &size, &error));
    for (unsigned threads = 1; threads <= 3; threads++) {
        float a[7] = {0}, c[1] = {0};
        float *const places[] = {a, b, c};
        rz_pool *pool;
        rz_safetensors *file;
        memset(b, 0, LARGE * sizeof *b);
        check_ok(rz_pool_new(threads, &pool, &error));
        check_ok(rz_safetensors_open(path, &file, &error));
        check_ok(rz_safetensors_read_all(file, places, pool, sha256, &error));
        assert_string_equal(sha256, wanted);
        assert_memory_equal(a, written, sizeof a);
        assert_memory_equal(b, written + 16, LARGE * sizeof *b);
        assert_memory_equal(c, written + 32 + LARGE / 16 * 16, sizeof c);
        rz_safetensors_close(file);
        rz_pool_free(pool);
    }
    free(written);
    free(b);
}

/* A number in the third round that is none; and a file that ends while it is read. */
static void damage_behind_the_header_is_named(void **state)
{
    (void)state;
    rz_error error = {0};
    const uint32_t infinite = 0x7f800000u;
    float *memory = calloc(2 * (size_t)LARGE, sizeof *memory);
    char sha256[RZ_SHA256_TEXT] = "untouched";
    assert_non_null(memory);
    write_large(memory);
    for (int cut = 0; cut < 2; cut++) {
        float a[7], c[1];
        float *const places[] = {a, memory, c};
        rz_safetensors *file;
        check_ok(rz_safetensors_open(path, &file, &error));
        const rz_safetensor *tensor = rz_safetensors_find(file, "b");
        FILE *out = fopen(path, "r+b");
        assert_non_null(out);
        assert_int_equal(fseek(out, (long)(tensor->offset + 4 * (LARGE - 1)), SEEK_SET), 0);
        if (cut != 0)
            assert_int_equal(ftruncate(fileno(out), ftell(out)), 0);
        else
            assert_int_equal(fwrite(&infinite, sizeof infinite, 1, out), 1);
        assert_int_equal(fclose(out), 0);
        check_fails(rz_safetensors_read_all(file, places, NULL, sha256, &error), RZ_E_CORRUPT,
                    cut != 0 ? "while it is read" : "tensor 'b': element 3000000");
        assert_string_equal(sha256, "untouched");
        rz_safetensors_close(file);
    }
    free(memory);
}

static void not_finite_is_not_written(void **state)
{
    (void)state;
    rz_error error = {0};
    float block[2] = {1, NAN};
    rz_tensor_spec tensor = {.name = "w", .rank = 1, .shape = {2}, .count = 2};
    check_fails(rz_safetensors_write(path, &tensor, 1, block, NULL, 0, &error), RZ_E_RANGE,
                "tensor 'w', element 1");
}

static void not_finite_is_not_read(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_safetensors *file;
    const char *header = "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < RZ_COUNT(bad); i++) {
        float data[2] = {0, bad[i]}, out[2];
        make_file(strlen(header), header, strlen(header), data, sizeof data);
        check_ok(rz_safetensors_open(path, &file, &error));
        check_fails(rz_safetensors_read(file, rz_safetensors_find(file, "w"), out, &error),
                    RZ_E_CORRUPT, "tensor 'w': element 1");
        rz_safetensors_close(file);
    }
}

#define T(name, dtype, shape, begin, end)                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end \
    "]}"

static void hostile_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t n_floats;
        rz_status status;
        const char *words;
    } cases[] = {
        {"", 0, RZ_E_CORRUPT, "begin with '{'"},
        {" {}", 0, RZ_E_CORRUPT, "begin with '{'"},
        {"[]", 0, RZ_E_CORRUPT, "begin with '{'"},
        {"{", 0, RZ_E_CORRUPT, "string is expected"},
        {"{}x", 0, RZ_E_CORRUPT, "more follows"},
        {"{} ", 1, RZ_E_CORRUPT, "the file has 4"},
        {"{" T("w", "F32", "2", "0", "8") "}", 1, RZ_E_CORRUPT, "'w' ends at byte 8"},
        {"{" T("w", "F32", "2", "0", "8") "}", 3, RZ_E_CORRUPT, "'w' ends at byte 8"},
        {"{" T("w", "F32", "2", "8", "0") "}", 2, RZ_E_CORRUPT, "'w' begins at 8 and ends before"},
        {"{" T("w", "F32", "2", "4", "12") "}", 3, RZ_E_CORRUPT, "'w' begins at 4, leaving a hole"},
        {"{" T("a", "F32", "2", "0", "8") "," T("b", "F32", "2", "4", "12") "}", 3, RZ_E_CORRUPT,
         "'b' begins at 4, overlapping"},
        {"{" T("a", "F32", "1", "0", "4") "," T("b", "F32", "1", "0", "4") "}", 1, RZ_E_CORRUPT,
         "begins at 0, overlapping"},
        {"{" T("a", "F32", "1", "0", "4") "," T("b", "F32", "1", "8", "12") "}", 3, RZ_E_CORRUPT,
         "'b' begins at 8, leaving a hole"},
        {"{" T("a", "F32", "1", "0", "4") "," T("a", "F32", "1", "4", "8") "}", 2, RZ_E_CORRUPT,
         "'a' is there twice"},
        {"{" T("w", "F32", "3", "0", "8") "}", 2, RZ_E_CORRUPT, "'w': its shape needs 12 bytes"},
        {"{" T("w", "F32", "4294967296,4294967296", "0", "0") "}", 0, RZ_E_CORRUPT,
         "'w': its shape overflows"},
        {"{" T("w", "F32", "4611686018427387904", "0", "0") "}", 0, RZ_E_CORRUPT,
         "'w': its shape overflows"},
        {"{" T("w", "F32", "18446744073709551616", "0", "0") "}", 0, RZ_E_CORRUPT,
         "'w': header byte"},
        {"{" T("w", "F32", "1", "0", "18446744073709551615") "}", 1, RZ_E_CORRUPT, "'w' ends at"},
        {"{" T("w", "F32", "-1", "0", "4") "}", 1, RZ_E_CORRUPT, "'w': header byte"},
        {"{" T("w", "F32", "1.0", "0", "4") "}", 1, RZ_E_CORRUPT, "whole number"},
        {"{" T("w", "F32", "1e0", "0", "4") "}", 1, RZ_E_CORRUPT, "whole number"},
        {"{" T("w", "F32", "01", "0", "4") "}", 1, RZ_E_CORRUPT, "whole number"},
        {"{" T("w", "F32", "1,1,1,1,1,1,1,1,1", "0", "4") "}", 1, RZ_E_CORRUPT,
         "'w' has more than 8 dimensions"},
        {"{" T("w", "F16", "2", "0", "4") "}", 1, RZ_E_UNSUPPORTED, "'w' has the type F16"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1]}}", 1, RZ_E_CORRUPT, "'w' lacks"},
        {"{\"w\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 1, RZ_E_CORRUPT, "twice"},
        {"{\"w\":{\"colour\":1}}", 1, RZ_E_CORRUPT, "colour"},
        {"{\"w\":[]}", 1, RZ_E_CORRUPT, "'w': header byte"},
        {"{\"w\xFF\":{}}", 1, RZ_E_CORRUPT, "UTF-8"},
        {"{\"w\xC0\x80\":{}}", 1, RZ_E_CORRUPT, "UTF-8"},
        {"{\"w\xED\xA0\x80\":{}}", 1, RZ_E_CORRUPT, "UTF-8"},
        {"{\"w\\u0000\":{}}", 1, RZ_E_CORRUPT, "control character"},
        {"{\"w\\uD800\":{}}", 1, RZ_E_CORRUPT, "surrogate"},
        {"{\"w\\x\":{}}", 1, RZ_E_CORRUPT, "escape"},
        {"{\"__metadata__\":{\"a\":1}}", 0, RZ_E_CORRUPT, "string is expected"},
        {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, RZ_E_CORRUPT, "\"a\" is there twice"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, RZ_E_CORRUPT, "there twice"},
    };
    rz_error error = {0};
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        rz_safetensors *file = NULL;
        make_plain(cases[i].header, cases[i].n_floats);
        check_fails(rz_safetensors_open(path, &file, &error), cases[i].status, cases[i].words);
        assert_null(file);
    }
}

/* What the format allows although we would not write it. */
static void unusual_headers_are_read(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_safetensors *file;
    make_plain("{}  ", 0);
    check_ok(rz_safetensors_open(path, &file, &error));
    rz_safetensors_close(file);
    make_plain("{ \"s\" : { \"data_offsets\" : [ 0 , 4 ] , \"shape\":[],\"dtype\":\"F32\"} ,"
               "\"\\u00e9\\ud83d\\ude00\":{\"dtype\":\"F32\",\"shape\":[0,7],"
               "\"data_offsets\":[4,4]}}",
               1);
    check_ok(rz_safetensors_open(path, &file, &error));
    assert_int_equal(rz_safetensors_find(file, "s")->count, 1);
    assert_non_null(rz_safetensors_find(file, "\xC3\xA9\xF0\x9F\x98\x80"));
    rz_safetensors_close(file);
}

static void bad_lengths_are_refused_at_once(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        const char *words;
    } cases[] = {{0, "begin with"},          {3, "announced, the file has 10"},
                 {99999999, "announced"},    {100000001, "100000000 are allowed"},
                 {520000000, "are allowed"}, {UINT64_MAX, "are allowed"},
                 {INT64_MAX, "are allowed"}};
    rz_error error = {0};
    rz_safetensors *file = NULL;
    double start = now_s();
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        make_file(cases[i].n, "{}", 2, NULL, 0);
        check_fails(rz_safetensors_open(path, &file, &error), RZ_E_CORRUPT, cases[i].words);
    }
    /* A file that really is that large (sparse): neither read nor allocated. */
    assert_int_equal(truncate(path, 1000000000), 0);
    check_fails(rz_safetensors_open(path, &file, &error), RZ_E_CORRUPT, "are allowed");
    make_file(90000000, "{", 1, NULL, 0);
    assert_int_equal(truncate(path, 1000000000), 0);
    check_fails(rz_safetensors_open(path, &file, &error), RZ_E_CORRUPT, "none of ours");
    assert_true(now_s() - start < 1.0);
}

/* 100,000 overlapping tensors, and as many as the header's limit holds. */
static void too_many_tensors_are_refused_at_once(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_safetensors *file = NULL;
    rz_buffer header;
    rz_buffer_init(&header, RZ_SAFETENSORS_HEADER_MAX);
    check_ok(rz_buffer_add_text(&header, "{"));
    for (int i = 0; rz_buffer_addf(&header,
                                   "%s\"t%d\":{\"dtype\":\"F32\",\"shape\":[1],"
                                   "\"data_offsets\":[0,4]}",
                                   i > 0 ? "," : "", i) == RZ_OK;
         i++) {
        if (i == 99999 || header.length > RZ_SAFETENSORS_HEADER_MAX - 100) {
            float data = 0;
            make_file(header.length, header.data, header.length, &data, sizeof data);
            double start = now_s();
            check_fails(rz_safetensors_open(path, &file, &error), RZ_E_CORRUPT,
                        "'t4096' is one more");
            assert_true(now_s() - start < 1.0);
        }
    }
    assert_true(header.length > RZ_SAFETENSORS_HEADER_MAX - 100);
    rz_buffer_done(&header);
}

/* Cut anywhere: in the length, in the header, in the data. */
static void each_truncation_is_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_safetensors *file = NULL;
    char *bytes;
    size_t n;
    write_good();
    check_ok(rz_file_read(path, 1 << 20, &bytes, &n, &error));
    for (size_t length = n; length-- > 0;) {
        assert_int_equal(truncate(path, (off_t)length), 0);
        check_fails(rz_safetensors_open(path, &file, &error), RZ_E_CORRUPT, "x.safetensors");
    }
    free(bytes);
    /* A larger one, at every kilobyte. */
    enum { FLOATS = 30000 };
    float *block = calloc(FLOATS, sizeof *block);
    assert_non_null(block);
    rz_tensor_spec tensor = {.name = "w", .rank = 1, .shape = {FLOATS}, .count = FLOATS};
    check_ok(rz_safetensors_write(path, &tensor, 1, block, NULL, 0, &error));
    for (off_t length = 119000; length >= 0; length -= 1000) {
        assert_int_equal(truncate(path, length), 0);
        check_fails(rz_safetensors_open(path, &file, &error), RZ_E_CORRUPT,
                    length >= 1000 ? "'w'" : "x.safetensors");
    }
    free(block);
}

/* Every bit of the header flipped: refused, or at most a name or a metadata text is another one;
 * the places of the tensors never move. */
static void flipped_bits_move_nothing(void **state)
{
    (void)state;
    rz_error error = {0};
    char *bytes;
    size_t n, refused = 0, accepted = 0;
    write_good();
    check_ok(rz_file_read(path, 1 << 20, &bytes, &n, &error));
    size_t header = 8 + (unsigned char)bytes[0] + 256u * (unsigned char)bytes[1];
    for (size_t i = 0; i < header * 8; i++) {
        rz_safetensors *file = NULL;
        bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
        FILE *out = fopen(path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(bytes, 1, n, out), n);
        assert_int_equal(fclose(out), 0);
        rz_status status = rz_safetensors_open(path, &file, &error);
        if (status == RZ_OK) {
            const rz_safetensor *tensors;
            accepted++;
            assert_int_equal(rz_safetensors_tensors(file, &tensors), 2);
            assert_int_equal(tensors[0].offset, header);
            assert_int_equal(tensors[0].count, 6);
            assert_int_equal(tensors[1].count, 5);
            assert_true(i / 8 >= 8);
            rz_safetensors_close(file);
        } else {
            refused++;
            assert_true(error.text[0] != '\0');
            assert_true(status == RZ_E_CORRUPT || status == RZ_E_UNSUPPORTED);
        }
        rz_error_clear(&error);
        bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
    }
    print_message("# %zu bit flips refused, %zu changed only a text\n", refused, accepted);
    assert_true(refused > accepted);
    free(bytes);
}

static void links_and_pipes_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_safetensors *file;
    check_fails(rz_safetensors_open(folder, &file, &error), RZ_E_INVALID, "not a regular file");
    check_fails(rz_safetensors_open("/nonexistent/x", &file, &error), RZ_E_NOT_FOUND, "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_read),
        cmocka_unit_test(all_is_read_and_digested_at_once),
        cmocka_unit_test(damage_behind_the_header_is_named),
        cmocka_unit_test(not_finite_is_not_written),
        cmocka_unit_test(not_finite_is_not_read),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(unusual_headers_are_read),
        cmocka_unit_test(bad_lengths_are_refused_at_once),
        cmocka_unit_test(too_many_tensors_are_refused_at_once),
        cmocka_unit_test(each_truncation_is_refused),
        cmocka_unit_test(flipped_bits_move_nothing),
        cmocka_unit_test(links_and_pipes_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
