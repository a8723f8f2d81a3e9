/* Native loop of lanes with random runs: `sign_run_check SEED RUNS`. Ends with 0, or with 1 and a line on stderr.
 *
 * Each buffer is a block of its own of exactly the size that the loop was told, so that AddressSanitizer and valgrind see a byte
 * read or written beside it. The module of this program fails, says wrong lengths, and is stopped by another thread.
 */
#include "../../workers/hsm/native/sign_run.c"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long long state;

static unsigned long next(unsigned long below) { /* xorshift64 */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned long)(state % below);
}

static struct {
    struct run *run;
    ulong_t inits, signs, failing_init, failing_sign, stop_after;
    int lies;
} module;

static void demand(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "sign_run_check: %s\n", what);
        exit(1);
    }
}

static ulong_t sign_init(ulong_t session, mechanism_t *mechanism, ulong_t key) {
    demand(session == 7 && key == 11 && mechanism->mechanism == 0x1041, "session, key or mechanism");
    return ++module.inits == module.failing_init ? 0x30 : 0;
}

static ulong_t sign(ulong_t session, byte *data, ulong_t data_bytes, byte *signature, ulong_t *signature_bytes) {
    demand(session == 7 && module.inits == module.signs + 1, "C_Sign without its C_SignInit");
    ulong_t room = *signature_bytes;
    if (++module.signs == module.failing_sign)
        return 0x31;
    for (ulong_t i = 0; i < room; i++) /* all of the room, as a module may */
        signature[i] = data_bytes ? data[i % data_bytes] : 0;
    *signature_bytes = module.lies ? next(~0UL) : next(room + 1);
    if (module.signs == module.stop_after)
        __atomic_store_n(&module.run->stop, 1, __ATOMIC_RELEASE);
    return 0;
}

static void *block(ulong_t bytes) {
    void *made = malloc(bytes ? bytes : 1);
    demand(made != NULL, "no memory");
    return made;
}

static void one_run(void) {
    ulong_t count = next(65), input_bytes = next(130), room = next(300);
    mechanism_t mechanism = {0x1041, NULL, 0};
    struct run run = {
        .c_sign_init = sign_init, .c_sign = sign, .session = 7, .key = 11, .mechanism = &mechanism, .count = count,
        .inputs = block(count * input_bytes), .input_bytes = input_bytes,
        .signatures = block(count * room), .room_bytes = room,
        .lengths = block(count * sizeof(ulong_t)),
    };
    memset(run.inputs, 0x5a, count * input_bytes);
    memset(&module, 0, sizeof module);
    module.run = &run;
    module.failing_init = next(3) ? 0 : next(70);
    module.failing_sign = next(3) ? 0 : next(70);
    module.stop_after = next(3) ? 0 : next(70);
    module.lies = !next(4);
    ulong_t code = sigmill_sign_run(&run);
    demand(run.calls == module.signs, "calls are the calls of C_Sign");
    demand(run.signed_ == module.signs - (code == 0x31), "signatures are the calls that succeeded");
    if (code == 0x30)
        demand(module.inits == module.failing_init, "the failure of C_SignInit");
    else if (code == 0x31)
        demand(module.signs == module.failing_sign, "the failure of C_Sign");
    else
        demand(!code && (run.signed_ == count || run.stop), "a run ends early by a failure or a stop alone");
    free(run.inputs);
    free(run.signatures);
    free(run.lengths);
}

static void *stop_later(void *run) {
    while (!__atomic_load_n(&((struct run *)run)->signed_, __ATOMIC_ACQUIRE))
        ;
    __atomic_store_n(&((struct run *)run)->stop, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* Another thread reads the progress of a run and stops it. */
static void stopped_run(void) {
    enum { COUNT = 64, BYTES = 32, ROOM = 64 };
    static byte inputs[COUNT * BYTES], signatures[COUNT * ROOM];
    static ulong_t lengths[COUNT];
    mechanism_t mechanism = {0x1041, NULL, 0};
    struct run run = {
        .c_sign_init = sign_init, .c_sign = sign, .session = 7, .key = 11, .mechanism = &mechanism, .count = COUNT,
        .inputs = inputs, .input_bytes = BYTES, .signatures = signatures, .room_bytes = ROOM, .lengths = lengths,
    };
    pthread_t other;
    memset(&module, 0, sizeof module);
    module.run = &run;
    demand(!pthread_create(&other, NULL, stop_later, &run), "pthread_create");
    while (!__atomic_load_n(&run.stop, __ATOMIC_ACQUIRE))
        demand(!sigmill_sign_run(&run), "no call fails");
    pthread_join(other, NULL);
    demand(run.signed_ > 0 && run.calls >= run.signed_, "it was stopped behind a signature");
}

int main(int argc, char **argv) {
    demand(argc == 3, "usage: sign_run_check SEED RUNS");
    state = strtoull(argv[1], NULL, 10) * 2 + 1;
    for (unsigned long left = strtoul(argv[2], NULL, 10); left; left--)
        one_run();
    for (int i = 0; i < 20; i++)
        stopped_run();
    return 0;
}
