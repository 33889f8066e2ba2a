/*
 * A PKCS #11 module that asks another one, $HABITS_MODULE, and has a habit that that one lacks: $HABIT. It must not know
 * the program. Of the standard's types it needs these few (PKCS #11 2.40).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long Ulong;
typedef Ulong (*Function)();

/* Version and functions, in the order of the standard. */
struct List {
    unsigned char version[2];
    Function functions[68];
};
enum { GET_LIST = 3, GET_TOKEN_INFO = 6, GET_MECHANISM_INFO = 8, OPEN_SESSION = 12, CLOSE_SESSION = 13, LOGIN = 18, GET_ATTRIBUTES = 24 };

/* What the standard packs into 96 letters before its flags. */
struct TokenInfo {
    unsigned char names[96];
    Ulong flags;
};
struct Attribute {
    Ulong type;
    void *value;
    Ulong length;
};

enum { CLASS = 0, MODULUS = 0x120, EXPONENT = 0x122, PRIVATE_KEY = 3 };
enum { LOGIN_REQUIRED = 0x4, PAD = 0x100, FINAL_TRY = 0x20000, LOCKED = 0x40000 };
enum { ATTRIBUTE_TYPE_INVALID = 0x12, MECHANISM_INVALID = 0x70, PIN_LOCKED = 0xA4, SESSION_COUNT = 0xB1 };

static struct List *asked, list;
static long open_sessions;

static int has(const char *habit) {
    const char *ours = getenv("HABIT");
    return ours && !strcmp(ours, habit);
}

static Ulong log_in(Ulong session) {
    const char *pin = getenv("HABITS_PIN");
    return asked->functions[LOGIN](session, 1UL, pin, (Ulong)strlen(pin));
}

static Ulong get_token_info(Ulong slot, struct TokenInfo *info) {
    Ulong result = asked->functions[GET_TOKEN_INFO](slot, info);
    if (has("final try")) info->flags |= FINAL_TRY;
    if (has("locked")) info->flags |= LOCKED;
    if (has("pad")) info->flags |= PAD;
    if (has("open to all")) info->flags &= ~(Ulong)LOGIN_REQUIRED;
    return result;
}

static Ulong get_mechanism_info(Ulong slot, Ulong mechanism, void *info) {
    if (has("no mechanism")) return MECHANISM_INVALID;
    return asked->functions[GET_MECHANISM_INFO](slot, mechanism, info);
}

static Ulong open_session(Ulong slot, Ulong flags, void *application, void *notify, Ulong *session) {
    long most = has("no session") ? 0 : has("one session") ? 1 : 1000;
    if (__atomic_fetch_add(&open_sessions, 1, __ATOMIC_SEQ_CST) >= most) {
        __atomic_fetch_sub(&open_sessions, 1, __ATOMIC_SEQ_CST);
        return SESSION_COUNT;
    }
    Ulong result = asked->functions[OPEN_SESSION](slot, flags, application, notify, session);
    if (!result && has("open to all")) log_in(*session);
    return result;
}

static Ulong close_session(Ulong session) {
    __atomic_fetch_sub(&open_sessions, 1, __ATOMIC_SEQ_CST);
    return asked->functions[CLOSE_SESSION](session);
}

static Ulong login(Ulong session, Ulong user, const char *pin, Ulong length) {
    if (has("locks itself")) return PIN_LOCKED;
    return has("pad") && !pin ? log_in(session) : asked->functions[LOGIN](session, user, pin, length);
}

static int is_private(Ulong session, Ulong object) {
    Ulong class = 0;
    struct Attribute wanted = {CLASS, &class, sizeof class};
    return !asked->functions[GET_ATTRIBUTES](session, object, &wanted, 1UL) && class == PRIVATE_KEY;
}

static Ulong get_attributes(Ulong session, Ulong object, struct Attribute *wanted, Ulong count) {
    Ulong result = asked->functions[GET_ATTRIBUTES](session, object, wanted, count);
    int hides = has("hides exponents") || (has("hides a private exponent") && is_private(session, object));
    for (Ulong at = 0; at < count; at++) {
        if ((hides && wanted[at].type == EXPONENT) || (has("hides moduli") && wanted[at].type == MODULUS)) {
            wanted[at].length = (Ulong)-1;
            result = ATTRIBUTE_TYPE_INVALID;
        }
    }
    return result;
}

Ulong C_GetFunctionList(struct List **to) {
    void *module = dlopen(getenv("HABITS_MODULE"), RTLD_NOW);
    Function get_list = module ? (Function)dlsym(module, "C_GetFunctionList") : 0;
    if (!get_list || get_list(&asked)) return 5;
    list = *asked;
    list.functions[GET_LIST] = C_GetFunctionList;
    list.functions[GET_TOKEN_INFO] = get_token_info;
    list.functions[GET_MECHANISM_INFO] = get_mechanism_info;
    list.functions[OPEN_SESSION] = open_session;
    list.functions[CLOSE_SESSION] = close_session;
    list.functions[LOGIN] = login;
    list.functions[GET_ATTRIBUTES] = get_attributes;
    *to = &list;
    return 0;
}
