// What a caller can get wrong is a code, not a crash.

#include "ring0.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                                   \
    do {                                                                                                                   \
        if (!(condition)) {                                                                                                \
            fprintf(stderr, "line %d: %s does not hold; last error: %s\n", __LINE__, #condition, ring0_last_error());      \
            exit(1);                                                                                                       \
        }                                                                                                                  \
    } while (0)

static ring0_options small(void) {
    ring0_options options;
    CHECK(ring0_options_default(&options) == RING0_ACCEPTED);
    options.traders = 2;
    options.orders = 4;
    options.ticks = 64;
    return options;
}

static ring0_engine *make(const ring0_options *options) {
    ring0_engine *engine;
    CHECK(ring0_create(options, &engine) == RING0_ACCEPTED);
    CHECK(engine != NULL);
    return engine;
}

static void null_pointers(void) {
    CHECK(ring0_options_default(NULL) == RING0_NULL);
    CHECK(ring0_create(NULL, NULL) == RING0_NULL);
    ring0_destroy(NULL);
    ring0_ack ack;
    CHECK(ring0_limit(NULL, 0, 0, RING0_BUY, 1, 1, &ack) == RING0_NULL);
    CHECK(strstr(ring0_last_error(), "engine") != NULL);
    CHECK(ring0_poll(NULL, NULL, 0) == RING0_NULL);
    CHECK(ring0_check(NULL) == RING0_NULL);

    ring0_engine *engine = make(NULL); // null options are the defaults
    CHECK(ring0_submit(engine, NULL, &ack) == RING0_NULL);
    CHECK(ring0_submit_batch(engine, NULL, 3, NULL) == RING0_NULL);
    CHECK(ring0_submit_batch(engine, NULL, 0, NULL) == 0);
    CHECK(ring0_poll(engine, NULL, 1) == RING0_NULL);
    CHECK(ring0_depth(engine, 0, RING0_BUY, NULL, 1) == RING0_NULL);
    CHECK(ring0_depth(engine, 0, RING0_BUY, NULL, 0) == 0);
    CHECK(ring0_state_hash(engine, NULL) == RING0_NULL);
    CHECK(ring0_balance_of(engine, 0, RING0_CASH, NULL) == RING0_NULL);
    CHECK(ring0_best(engine, 0, NULL, NULL) == RING0_ACCEPTED);
    CHECK(ring0_limit(engine, 0, 0, RING0_BUY, 1, 1, NULL) == RING0_ACCEPTED); // an ack may be null
    ring0_destroy(engine);
}

static void bad_options(void) {
    ring0_engine *engine = (ring0_engine *)8;
    ring0_options options = small();
    options.traders = 0;
    CHECK(ring0_create(&options, &engine) == RING0_ARGUMENT);
    CHECK(engine == NULL);
    CHECK(strstr(ring0_last_error(), "traders") != NULL);
    options = small();
    options.orders = 1 << 26;
    CHECK(ring0_create(&options, &engine) == RING0_MEMORY);
    options = small();
    options.events_max = 10;
    CHECK(ring0_create(&options, &engine) == RING0_ARGUMENT);
    options = small();
    options.flags = 1u << 31;
    CHECK(ring0_create(&options, &engine) == RING0_ARGUMENT);
    options = small();
    options.maker_ppm = -1; // a rebate above the taker fee
    CHECK(ring0_create(&options, &engine) == RING0_ARGUMENT);
    CHECK(strstr(ring0_last_error(), "BadListing") != NULL);
    options = small();
    const char *symbols[] = {"TOOLONGNAME"};
    options.symbols = symbols;
    CHECK(ring0_create(&options, &engine) == RING0_ARGUMENT);
    symbols[0] = NULL;
    CHECK(ring0_create(&options, &engine) == RING0_NULL);
}

static void bad_indexes(ring0_engine *engine) {
    ring0_level level;
    CHECK(ring0_limit(engine, 2, 0, RING0_BUY, 1, 1, NULL) == RING0_TRADER);
    CHECK(ring0_limit(engine, 0, 1, RING0_BUY, 1, 1, NULL) == RING0_INSTRUMENT);
    CHECK(ring0_limit(engine, 0, RING0_ALL, RING0_BUY, 1, 1, NULL) == RING0_INSTRUMENT);
    CHECK(ring0_mass_cancel(engine, 0, 1, RING0_BOTH, NULL) == RING0_INSTRUMENT);
    CHECK(ring0_best(engine, 1, &level, NULL) == RING0_INSTRUMENT);
    CHECK(ring0_depth(engine, 0, 'x', &level, 1) == RING0_ARGUMENT);
    CHECK(ring0_base_asset(engine, 1) == RING0_INSTRUMENT);
    CHECK(ring0_base_asset(engine, 0) == 1);
    CHECK(ring0_deposit(engine, 2, RING0_CASH, 1) == RING0_TRADER);
    CHECK(ring0_deposit(engine, 0, 2, 1) == RING0_ASSET);
    CHECK(ring0_deposit(engine, 0, RING0_CASH, 0) == RING0_REJECTED);
    CHECK(strcmp(ring0_last_error(), "BadAmount") == 0);
    CHECK(ring0_withdraw(engine, 0, RING0_CASH, UINT64_MAX) == RING0_REJECTED);
    CHECK(strcmp(ring0_last_error(), "Funds") == 0);
    CHECK(ring0_revive(engine, 2) == RING0_TRADER);

    ring0_order order = {.side = RING0_BUY, .price = 1, .lots = 1};
    order.action = 9;
    CHECK(ring0_submit(engine, &order, NULL) == RING0_ARGUMENT);
    order.action = RING0_NEW;
    order.time_in_force = 8;
    CHECK(ring0_submit(engine, &order, NULL) == RING0_ARGUMENT);
    order.time_in_force = RING0_DAY;
    order.flags = 1; // the time in force has a field of its own
    CHECK(ring0_submit(engine, &order, NULL) == RING0_ARGUMENT);
    order.flags = 0;
    order.reserved[0] = 1;
    CHECK(ring0_submit(engine, &order, NULL) == RING0_ARGUMENT);

    // One bad order in a batch: nothing of it is carried out, and its references are not used up.
    ring0_order batch[2] = {{.side = RING0_BUY, .price = 1, .lots = 1}, {.trader = 7}};
    CHECK(ring0_submit_batch(engine, batch, 2, NULL) == RING0_TRADER);
    CHECK(ring0_best(engine, 0, &level, NULL) == RING0_ACCEPTED && level.lots == 0);
    ring0_ack ack;
    CHECK(ring0_limit(engine, 0, 0, RING0_BUY, 1, 1, &ack) == RING0_ACCEPTED && ack.reference == 1);
    CHECK(ring0_cancel(engine, 0, 0, 1, NULL) == RING0_ACCEPTED);
}

static void rejects(ring0_engine *engine) {
    ring0_ack ack;
    CHECK(ring0_cancel(engine, 0, 0, 12345, &ack) == RING0_REJECTED);
    CHECK(ack.reason == RING0_REASON_UNKNOWN_ORDER && ack.reference == 12345 && ack.order_id == 0 && ack.sequence != 0);
    CHECK(strcmp(ring0_reason_name(ack.reason), "UnknownOrder") == 0);
    CHECK(ring0_limit(engine, 0, 0, RING0_BUY, 65, 1, &ack) == RING0_REJECTED && ack.reason == RING0_REASON_OFF_LADDER);
    CHECK(ring0_limit(engine, 0, 0, RING0_BUY, 0, 1, &ack) == RING0_REJECTED && ack.reason == RING0_REASON_OFF_LADDER);
    CHECK(ring0_limit(engine, 0, 0, RING0_BUY, 1, 0, &ack) == RING0_REJECTED && ack.reason == RING0_REASON_SHARES_ZERO);
    CHECK(ring0_limit(engine, 0, 0, 'x', 1, 1, &ack) == RING0_REJECTED && ack.reason == RING0_REASON_SIDE_UNKNOWN);
    CHECK(ring0_fok(engine, 0, 0, RING0_BUY, 1, 1, &ack) == RING0_REJECTED && ack.reason == RING0_REASON_NOT_FILLABLE);
    ring0_order named = {.side = RING0_BUY, .price = 1, .lots = 1, .reference = 1};
    CHECK(ring0_submit(engine, &named, &ack) == RING0_REJECTED && ack.reason == RING0_REASON_REFERENCE_NOT_RISING);
    ring0_order late = {.side = RING0_BUY, .price = 1, .lots = 1, .time_in_force = RING0_GTT, .expiry_s = 90000};
    CHECK(ring0_submit(engine, &late, &ack) == RING0_REJECTED && ack.reason == RING0_REASON_EXPIRY_TOO_LATE);
    ring0_order iceberg = {.side = RING0_BUY, .price = 1, .lots = 1, .display = 2};
    CHECK(ring0_submit(engine, &iceberg, &ack) == RING0_REJECTED && ack.reason == RING0_REASON_DISPLAY_ABOVE_SHARES);
    CHECK(strcmp(ring0_reason_name(0), "None") == 0);
    CHECK(strcmp(ring0_reason_name(255), "Unknown") == 0);
    CHECK(strcmp(ring0_reason_name(UINT32_MAX), "Unknown") == 0);
}

static void full_book(ring0_engine *engine) {
    ring0_ack ack;
    for (uint32_t price = 1; price <= 4; price++)
        CHECK(ring0_limit(engine, 0, 0, RING0_BUY, price, 1, &ack) == RING0_ACCEPTED);
    CHECK(ring0_limit(engine, 0, 0, RING0_BUY, 5, 1, &ack) == RING0_REJECTED && ack.reason == RING0_REASON_BOOK_FULL);
    ring0_order kill = {.action = RING0_MASS_CANCEL, .instrument = RING0_ALL, .kill = 1};
    CHECK(ring0_submit(engine, &kill, &ack) == RING0_ACCEPTED && ack.lots == 4);
    CHECK(ring0_limit(engine, 0, 0, RING0_BUY, 5, 1, &ack) == RING0_REJECTED && ack.reason == RING0_REASON_SESSION_KILLED);
    CHECK(ring0_revive(engine, 0) == RING0_ACCEPTED);
    CHECK(ring0_limit(engine, 0, 0, RING0_BUY, 5, 1, &ack) == RING0_ACCEPTED);
    CHECK(ring0_check(engine) == RING0_ACCEPTED);
}

// A full queue refuses new orders before cancels, and goes on where events are taken out.
static void full_queue(void) {
    ring0_options options = small();
    options.events_max = 16384;
    ring0_engine *engine = make(&options);
    ring0_ack ack = {0};
    uint32_t live = 0, rounds = 0;
    for (;;) {
        int outcome = ring0_limit(engine, 0, 0, RING0_BUY, 1, 1, &ack);
        if (outcome == RING0_NOT_TAKEN)
            break;
        CHECK(outcome == RING0_ACCEPTED && rounds++ < 100000);
        live = ack.reference;
        if (ring0_cancel(engine, 0, 0, live, NULL) == RING0_ACCEPTED)
            live = 0;
    }
    CHECK(ack.reason == RING0_REASON_RING_FULL && ack.order_id == 0 && ack.sequence == 0);
    CHECK(ring0_cancel(engine, 0, 0, 1, &ack) == RING0_REJECTED); // taken: the last eighth is for such
    int64_t waiting = ring0_waiting(engine);
    CHECK(waiting > 8192 && waiting <= 16384);
    ring0_event events[64];
    int64_t count, all = 0;
    uint64_t last = 0;
    while ((count = ring0_poll(engine, events, 64)) > 0) {
        for (int64_t i = 0; i < count; i++) {
            CHECK(events[i].sequence > last);
            last = events[i].sequence;
        }
        all += count;
    }
    CHECK(all == waiting && ring0_waiting(engine) == 0);
    CHECK(ring0_limit(engine, 0, 0, RING0_BUY, 1, 1, &ack) == RING0_ACCEPTED);
    ring0_destroy(engine);
}

static void funds(void) {
    ring0_options options = small();
    options.flags = RING0_NO_DEPOSITS;
    ring0_engine *engine = make(&options);
    ring0_ack ack;
    ring0_balance balance;
    CHECK(ring0_limit(engine, 0, 0, RING0_BUY, 10, 5, &ack) == RING0_REJECTED && ack.reason == RING0_REASON_FUNDS);
    CHECK(ring0_deposit(engine, 0, RING0_CASH, 60) == RING0_ACCEPTED);
    CHECK(ring0_limit(engine, 0, 0, RING0_BUY, 10, 5, &ack) == RING0_ACCEPTED);
    CHECK(ring0_balance_of(engine, 0, RING0_CASH, &balance) == RING0_ACCEPTED);
    CHECK(balance.available == 10 && balance.held == 50);
    CHECK(ring0_withdraw(engine, 0, RING0_CASH, 11) == RING0_REJECTED);
    CHECK(ring0_withdraw(engine, 0, RING0_CASH, 10) == RING0_ACCEPTED);
    ring0_destroy(engine);
}

int main(void) {
    CHECK(ring0_abi_version() == RING0_ABI_VERSION);
    CHECK(ring0_last_error()[0] == '\0');
    null_pointers();
    bad_options();
    ring0_options options = small();
    ring0_engine *engine = make(&options);
    bad_indexes(engine);
    rejects(engine);
    full_book(engine);
    ring0_destroy(engine);
    full_queue();
    funds();
    puts("every error is a code");
    return 0;
}
