#include "check.h"
#include "folder.h"

#include "base/file.h"

#include <unistd.h>

static char folder[] = "/tmp/rezept-file-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return temp_folder(folder) == NULL ? -1 : 0;
}

static void written_then_read(void **state)
{
    (void)state;
    rz_error error = {0};
    char *nested = rz_path_join(folder, "a/b"), *path = rz_path_join(folder, "a/b/x.bin");
    check_ok(rz_folder_make(nested, &error));
    check_ok(rz_folder_make(nested, &error));
    check_ok(rz_file_write(path, "claim\0data", 10, &error));
    char *data = NULL, sha256[RZ_SHA256_TEXT];
    size_t length;
    uint64_t size;
    check_ok(rz_file_read(path, 100, &data, &length, &error));
    assert_int_equal(length, 10);
    assert_memory_equal(data, "claim\0data", 11);
    free(data);
    check_fails(rz_file_read(path, 9, &data, &length, &error), RZ_E_TOO_LARGE, "10 bytes");
    check_fails(rz_file_read(nested, 9, &data, &length, &error), RZ_E_INVALID, "not a regular");
    check_ok(rz_file_write(path, "abc", 3, &error));
    check_ok(rz_file_digest(path, sha256, &size, &error));
    assert_int_equal(size, 3);
    assert_string_equal(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    free(nested);
    free(path);
}

static void aborted_write_leaves_the_old_file(void **state)
{
    (void)state;
    rz_error error = {0};
    char *path = rz_path_join(folder, "old");
    check_ok(rz_file_write(path, "old", 3, &error));
    rz_atomic_file file;
    check_ok(rz_atomic_file_open(&file, path, &error));
    assert_true(fputs("new", file.stream) >= 0);
    char *temporary_path = strdup(file.temporary_path);
    rz_atomic_file_abort(&file);
    assert_int_not_equal(access(temporary_path, F_OK), 0);
    free(temporary_path);
    char *data = NULL;
    check_ok(rz_file_read(path, 100, &data, NULL, &error));
    assert_string_equal(data, "old");
    free(data);
    free(path);
}

static void full_disk_is_named(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_atomic_file file;
    char *path = rz_path_join(folder, "full");
    check_ok(rz_atomic_file_open(&file, path, &error));
    assert_non_null(freopen("/dev/full", "wb", file.stream));
    assert_true(fputs("x", file.stream) >= 0);
    check_fails(rz_atomic_file_commit(&file, &error), RZ_E_DISK_FULL, "No space left");
    assert_int_not_equal(access(path, F_OK), 0);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(written_then_read),
                                       cmocka_unit_test(aborted_write_leaves_the_old_file),
                                       cmocka_unit_test(full_disk_is_named)};
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
