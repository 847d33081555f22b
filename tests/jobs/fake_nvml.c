/* A stand-in for NVIDIA's management library with two cards, which the real pynvml loads.
 *
 * The file named by FAKE_NVML is read at every call. A line "FUNCTION CARD CODE" has that function return that error
 * code for the card (-1: for any); "users CARD PID MIB" puts a process on a card. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

typedef struct { int number; } Card;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Rates;
typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } User;

static Card cards[2] = {{0}, {1}};
static const char *names[2] = {"GPU-aaaa", "GPU-bbbb"};

static int told(const char *function, int card) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[200], name[100];
    int which, code, found = OK;
    if (!file) return OK;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%99s %d %d", name, &which, &code) == 3 && !strcmp(name, function))
            if (which == card || which < 0) found = code;
    fclose(file);
    return found;
}

#define ASK(card) do { int code = told(__func__, card); if (code) return code; } while (0)

int nvmlInitWithFlags(unsigned flags) { (void)flags; ASK(-1); return OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { (void)code; return "told to fail"; }
int nvmlDeviceGetCount_v2(unsigned *count) { ASK(-1); *count = 2; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Card **card) {
    if (index > 1) return INVALID_ARGUMENT;
    ASK((int)index);
    *card = &cards[index];
    return OK;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Card **card) {
    for (int i = 0; i < 2; i++)
        if (!strcmp(uuid, names[i])) { ASK(i); *card = &cards[i]; return OK; }
    return NOT_FOUND;
}

int nvmlDeviceGetIndex(Card *card, unsigned *index) { ASK(card->number); *index = card->number; return OK; }

int nvmlDeviceGetUUID(Card *card, char *text, unsigned size) {
    ASK(card->number);
    snprintf(text, size, "%s", names[card->number]);
    return OK;
}

int nvmlDeviceGetName(Card *card, char *text, unsigned size) {
    ASK(card->number);
    snprintf(text, size, "%s", "NVIDIA Made Up");
    return OK;
}

int nvmlDeviceGetMemoryInfo(Card *card, Memory *memory) {
    ASK(card->number);
    memory->total = 80ull << 30;
    memory->free = (card->number ? 70ull : 20ull) << 30;
    memory->used = memory->total - memory->free;
    return OK;
}

int nvmlDeviceGetCudaComputeCapability(Card *card, int *major, int *minor) {
    ASK(card->number);
    *major = 9;
    *minor = 0;
    return OK;
}

int nvmlDeviceGetUtilizationRates(Card *card, Rates *rates) { ASK(card->number); rates->gpu = 37; return OK; }
int nvmlDeviceGetTemperature(Card *card, int kind, unsigned *degrees) {
    (void)kind;
    ASK(card->number);
    *degrees = 61;
    return OK;
}
int nvmlDeviceGetPowerUsage(Card *card, unsigned *milliwatts) { ASK(card->number); *milliwatts = 250000; return OK; }

int nvmlDeviceGetComputeRunningProcesses_v3(Card *card, unsigned *count, User *users) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[200];
    unsigned found = 0, room = *count;
    ASK(card->number);
    while (file && fgets(line, sizeof line, file)) {
        int which, pid, mib;
        if (sscanf(line, "users %d %d %d", &which, &pid, &mib) != 3 || which != card->number) continue;
        if (users && found < room)
            users[found] = (User){(unsigned)pid, mib < 0 ? ~0ull : (unsigned long long)mib << 20, ~0u, ~0u};
        found++;
    }
    if (file) fclose(file);
    *count = found;
    return found > room || (found && !users) ? INSUFFICIENT_SIZE : OK;
}
