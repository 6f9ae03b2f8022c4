#include "check.h"

#include "base/arena.h"
#include "base/buffer.h"
#include "base/memory.h"
#include "base/size.h"

static void sizes_overflow_is_seen(void **state)
{
    (void)state;
    size_t out = 5;
    assert_false(rz_size_mul(SIZE_MAX, 2, &out));
    assert_false(rz_size_add(SIZE_MAX, 1, &out));
    assert_true(rz_size_mul(6, 7, &out));
    assert_int_equal(out, 42);
}

static void arena_keeps_its_limit(void **state)
{
    (void)state;
    rz_arena arena;
    rz_arena_init(&arena, 10000);
    char *first = rz_arena_strdup(&arena, "claim");
    assert_string_equal(first, "claim");
    for (int i = 0; i < 9; i++)
        assert_non_null(rz_arena_alloc(&arena, 1000, 1));
    assert_null(rz_arena_alloc(&arena, 1000, 1));
    assert_null(rz_arena_alloc(&arena, SIZE_MAX / 2, 4));
    assert_string_equal(first, "claim");
    rz_arena_reset(&arena);
    unsigned char *zeroed = rz_arena_alloc(&arena, 100, 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zeroed[i], 0);
    assert_int_equal((uintptr_t)zeroed % 16, 0);
    rz_arena_done(&arena);
}

static void buffer_keeps_its_limit(void **state)
{
    (void)state;
    rz_buffer buffer;
    rz_buffer_init(&buffer, 1000);
    assert_string_equal(buffer.data, "");
    for (int i = 0; i < 100; i++)
        assert_int_equal(rz_buffer_addf(&buffer, "%09d,", i), RZ_OK);
    assert_int_equal(buffer.length, 1000);
    assert_int_equal(rz_buffer_add(&buffer, "x", 1), RZ_E_TOO_LARGE);
    assert_int_equal(buffer.length, 1000);
    assert_memory_equal(buffer.data + 990, "000000099,", 11);
    size_t length;
    char *taken = rz_buffer_take(&buffer, &length);
    assert_int_equal(length, 1000);
    free(taken);
    assert_int_equal(rz_buffer_add(&buffer, "again", 5), RZ_OK);
    assert_string_equal(buffer.data, "again");
    rz_buffer_done(&buffer);
}

/* Below and from the size on that asks for huge pages, whole and a byte more. */
static void blocks_are_aligned_and_whole(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 64, 1000, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 9 << 20};
    for (size_t i = 0; i < RZ_COUNT(sizes); i++) {
        unsigned char *block = rz_memory_block(sizes[i]);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 64, 0);
        memset(block, 7, sizes[i]);
        free(block);
    }
    assert_null(rz_memory_block(SIZE_MAX));
    assert_null(rz_memory_block(SIZE_MAX - 63));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_overflow_is_seen), cmocka_unit_test(arena_keeps_its_limit),
        cmocka_unit_test(buffer_keeps_its_limit), cmocka_unit_test(blocks_are_aligned_and_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
