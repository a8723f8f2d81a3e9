/* Faults of the simulated HSM: which calls fail, hang or crash, by the rules in a file.
 *
 * Fault rules, one to a line, # begins a comment:
 *
 *   FUNCTION ACTION [CONDITION...]
 *
 *   FUNCTION   a name of the function list, or C_SignLength for the length query
 *   ACTION     rv=0x30     return this and do nothing else (C_Sign ends its operation, as devices do)
 *              hang        never return;  hang=1.5  return after so many seconds and continue
 *              hold        continue when the file has changed, or is gone
 *              exit=5      call exit(5);  segv  write to address 0
 *              corrupt     flip the last bit of the signature (C_Sign only)
 *   CONDITION  nth=7 every=20 after=100    by this rule's own count in this process, from 1, counting
 *                                          only calls that match `tail`; begins again when the file changes
 *              tail=0badcafe               only where C_Sign's input ends in these bytes
 *              once                        one process only, ever: claims FILE.LINE.done
 *
 * A rule that cannot be read ends the process: a test must not pass because of a typing error.
 *
 * Replaced rule sets are not freed: a call in another thread may still read them.
 */
#define _GNU_SOURCE
#include "simhsm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RULE_TAIL_MAX = 64 };
#define RULES_CHECK_NS (10 * 1000000LL)

#define FUNCTION_NAME(name, parameters, arguments) #name,
static const char *const function_names[] = {PKCS11_FUNCTIONS(FUNCTION_NAME, FUNCTION_NAME) "C_SignLength"};

static const char *faults_file;

enum action { ACT_RV, ACT_HANG, ACT_HOLD, ACT_EXIT, ACT_SEGV, ACT_CORRUPT };

struct rule {
    int function;
    enum action action;
    CK_RV rv;
    int exit_code, line;
    double hang_s; /* 0: forever */
    unsigned long nth, every, after;
    bool once;
    CK_BYTE tail[RULE_TAIL_MAX];
    CK_ULONG tail_len;
    atomic_ulong seen;
};

struct rules {
    size_t count;
    struct rule rule[];
};

static _Atomic(struct rules *) current_rules;
static atomic_llong next_check_ns;
static pthread_mutex_t rules_lock = PTHREAD_MUTEX_INITIALIZER;
static struct stat rules_seen; /* under rules_lock */

static _Noreturn void bad_rule(int line, const char *word) {
    fprintf(stderr, "simhsm: %s:%d: cannot read '%s'\n", faults_file, line, word);
    abort();
}

static const char *value_of(const char *word, const char *name) {
    size_t n = strlen(name);
    return strncmp(word, name, n) == 0 && word[n] == '=' ? word + n + 1 : NULL;
}

static unsigned long number(const char *text, int line, const char *word) {
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 0);
    if (errno || end == text || *end)
        bad_rule(line, word);
    return value;
}

static void parse_action(struct rule *rule, const char *word) {
    const char *value;
    char *end;
    if ((value = value_of(word, "rv"))) {
        rule->action = ACT_RV;
        rule->rv = number(value, rule->line, word);
    } else if ((value = value_of(word, "exit"))) {
        rule->action = ACT_EXIT;
        rule->exit_code = (int)number(value, rule->line, word);
    } else if ((value = value_of(word, "hang"))) {
        rule->action = ACT_HANG;
        rule->hang_s = strtod(value, &end);
        if (end == value || *end || rule->hang_s <= 0)
            bad_rule(rule->line, word);
    } else if (strcmp(word, "hang") == 0) {
        rule->action = ACT_HANG;
    } else if (strcmp(word, "hold") == 0) {
        rule->action = ACT_HOLD;
    } else if (strcmp(word, "segv") == 0) {
        rule->action = ACT_SEGV;
    } else if (strcmp(word, "corrupt") == 0 && rule->function == FN_C_Sign) {
        rule->action = ACT_CORRUPT;
    } else {
        bad_rule(rule->line, word);
    }
}

static void parse_condition(struct rule *rule, const char *word) {
    const char *value;
    if ((value = value_of(word, "nth")))
        rule->nth = number(value, rule->line, word);
    else if ((value = value_of(word, "every")))
        rule->every = number(value, rule->line, word);
    else if ((value = value_of(word, "after")))
        rule->after = number(value, rule->line, word);
    else if ((value = value_of(word, "tail")) && rule->function == FN_C_Sign) {
        size_t n = strlen(value);
        if (n == 0 || n % 2 || n / 2 > RULE_TAIL_MAX || strspn(value, "0123456789abcdefABCDEF") != n)
            bad_rule(rule->line, word);
        for (rule->tail_len = 0; rule->tail_len < n / 2; rule->tail_len++) {
            char pair[3] = {value[2 * rule->tail_len], value[2 * rule->tail_len + 1], 0};
            rule->tail[rule->tail_len] = (CK_BYTE)strtoul(pair, NULL, 16);
        }
    } else if (strcmp(word, "once") == 0)
        rule->once = true;
    else
        bad_rule(rule->line, word);
}

static bool parse_rule(struct rule *rule, char *text, int line) {
    char *rest, *word;
    text[strcspn(text, "#\n")] = 0;
    memset(rule, 0, sizeof *rule);
    rule->line = line;
    if (!(word = strtok_r(text, " \t\r", &rest)))
        return false;
    while (rule->function < FN_COUNT && strcmp(function_names[rule->function], word))
        rule->function++;
    /* C_GetFunctionList is answered before anything is forwarded. */
    if (rule->function == FN_COUNT || rule->function == FN_C_GetFunctionList)
        bad_rule(line, word);
    if (!(word = strtok_r(NULL, " \t\r", &rest)))
        bad_rule(line, "a rule without an action");
    parse_action(rule, word);
    while ((word = strtok_r(NULL, " \t\r", &rest)))
        parse_condition(rule, word);
    return true;
}

static struct rules *read_rules(FILE *file) {
    struct rules *rules = calloc(1, sizeof *rules);
    char *text = NULL;
    size_t size = 0;
    for (int line = 1; rules && getline(&text, &size, file) >= 0; line++) {
        struct rules *longer = realloc(rules, sizeof *rules + (rules->count + 1) * sizeof(struct rule));
        if (!longer)
            break;
        rules = longer;
        if (parse_rule(&rules->rule[rules->count], text, line))
            rules->count++;
    }
    free(text);
    return rules;
}

static void refresh_rules(void) {
    long long now = now_ns(), due = atomic_load(&next_check_ns);
    if (now < due || !atomic_compare_exchange_strong(&next_check_ns, &due, now + RULES_CHECK_NS))
        return;
    if (pthread_mutex_trylock(&rules_lock))
        return;
    struct stat st = {0};
    if (stat(faults_file, &st)) {
        if (rules_seen.st_ino)
            atomic_store(&current_rules, NULL);
        memset(&rules_seen, 0, sizeof rules_seen);
    } else if (st.st_ino != rules_seen.st_ino || st.st_size != rules_seen.st_size ||
               st.st_mtim.tv_sec != rules_seen.st_mtim.tv_sec ||
               st.st_mtim.tv_nsec != rules_seen.st_mtim.tv_nsec) {
        FILE *file = fopen(faults_file, "re");
        if (file) {
            atomic_store(&current_rules, read_rules(file)); /* the old set may still be in use: not freed */
            rules_seen = st;
            fclose(file);
        }
    }
    pthread_mutex_unlock(&rules_lock);
}

static bool claim_once(const struct rule *rule) {
    char path[4096];
    int n = snprintf(path, sizeof path, "%s.%d.done", faults_file, rule->line);
    int fd = n > 0 && (size_t)n < sizeof path ? open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644) : -1;
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool due(struct rule *rule, const CK_BYTE *in, CK_ULONG n) {
    if (rule->tail_len &&
        (!in || n < rule->tail_len || memcmp(in + n - rule->tail_len, rule->tail, rule->tail_len)))
        return false;
    unsigned long seen = atomic_fetch_add(&rule->seen, 1) + 1;
    if (rule->nth && seen != rule->nth)
        return false;
    if (rule->every && seen % rule->every)
        return false;
    return seen > rule->after && (!rule->once || claim_once(rule));
}

static void apply(const struct rules *rules, const struct rule *rule, struct verdict *verdict) {
    static volatile int *volatile nowhere; /* volatile: the compiler may not see that it is NULL */
    switch (rule->action) {
    case ACT_RV:
        verdict->refused = true;
        verdict->rv = rule->rv;
        break;
    case ACT_HANG:
        if (rule->hang_s > 0)
            sleep_until(now_ns() + (int64_t)(rule->hang_s * NS_PER_S));
        else
            for (;;)
                sleep_until(now_ns() + 3600 * NS_PER_S);
        break;
    case ACT_HOLD:
        for (; atomic_load(&current_rules) == rules; refresh_rules())
            sleep_until(now_ns() + RULES_CHECK_NS);
        break;
    case ACT_EXIT:
        exit(rule->exit_code);
    case ACT_SEGV:
        *nowhere = 1;
        break;
    case ACT_CORRUPT:
        verdict->corrupt = true;
        break;
    }
}

struct verdict judge(enum function_id function, const CK_BYTE *in, CK_ULONG n) {
    struct verdict verdict = {0};
    if (!faults_file)
        return verdict;
    refresh_rules();
    struct rules *rules = atomic_load(&current_rules);
    for (size_t i = 0; rules && i < rules->count; i++)
        if (rules->rule[i].function == (int)function && due(&rules->rule[i], in, n))
            apply(rules, &rules->rule[i], &verdict);
    return verdict;
}

/* Begins to follow the file; it need not exist yet. False: no memory. */
bool faults_open(const char *path) {
    faults_file = strdup(path); /* the caller may change its environment later */
    if (faults_file)
        refresh_rules();
    return faults_file != NULL;
}
