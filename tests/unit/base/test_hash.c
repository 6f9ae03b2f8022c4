#include "check.h"

#include "base/hash.h"

#include <string.h>

static void digest(const void *bytes, size_t n, char out[RZ_SHA256_TEXT])
{
    rz_sha256 hash;
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, bytes, n);
    rz_sha256_text(&hash, out);
}

/* FIPS 180-4's examples: none, one and two blocks, and many. */
static void sha256_is_the_standards(void **state)
{
    (void)state;
    static char million[1000000];
    memset(million, 'a', sizeof million);
    const struct {
        const char *text;
        size_t n;
        const char *sha256;
    } cases[] = {
        {"", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
         "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         112, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
        {million, sizeof million,
         "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sha256[RZ_SHA256_TEXT];
        digest(cases[i].text, cases[i].n, sha256);
        assert_string_equal(sha256, cases[i].sha256);
    }
}

/* However the bytes are cut, also across blocks. */
static void sha256_does_not_see_pieces(void **state)
{
    (void)state;
    unsigned char bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7);
    char whole[RZ_SHA256_TEXT];
    digest(bytes, sizeof bytes, whole);
    for (size_t first = 0; first <= sizeof bytes; first++)
        for (size_t second = first; second <= sizeof bytes; second++) {
            char pieces[RZ_SHA256_TEXT];
            rz_sha256 hash;
            rz_sha256_init(&hash);
            rz_sha256_add(&hash, bytes, first);
            rz_sha256_add(&hash, bytes + first, second - first);
            rz_sha256_add(&hash, bytes + second, sizeof bytes - second);
            rz_sha256_text(&hash, pieces);
            assert_string_equal(pieces, whole);
        }
}

/* RFC 2104 with SHA-256, RFC 4231's second case with its key filled up to our length: what
 * pseudonyms are made of must never change. */
static void pseudonyms_stay(void **state)
{
    (void)state;
    const unsigned char key[RZ_HMAC_KEY_BYTES] = "Jefe";
    char out[33];
    rz_hmac_text(key, "what do ya want for nothing?", 28, out);
    assert_string_equal(out, "5bdcc146bf60754e6a042426089575c7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sha256_is_the_standards),
                                       cmocka_unit_test(sha256_does_not_see_pieces),
                                       cmocka_unit_test(pseudonyms_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
