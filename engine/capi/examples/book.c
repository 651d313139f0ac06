// A market in a page: quotes on both sides, a crossing order, the events, the depth that is left.
//
//   cargo build --release -p ring0-capi
//   cc -Wall -Wextra -Iengine/capi/include engine/capi/examples/book.c -Ltarget/release -lring0 -Wl,-rpath,$PWD/target/release -o book
//   ./book

#include "ring0.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAKER = 0, TAKER = 1 };

// Ends the program where a call did not do what the example needs.
static void need(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s: %s\n", what, ring0_last_error());
        exit(1);
    }
}

static void print_events(ring0_engine *engine) {
    ring0_event events[32];
    int64_t count;
    while ((count = ring0_poll(engine, events, 32)) > 0) {
        for (int64_t i = 0; i < count; i++) {
            const ring0_event *e = &events[i];
            switch (e->kind) {
            case RING0_EVENT_RESTED:
                printf("rested   order %" PRIu64 " reference %" PRIu32 " %c %" PRIu32 " lots at %" PRIu32 "\n", e->order_id,
                       e->reference, e->side, e->lots, e->price);
                break;
            case RING0_EVENT_FILLED:
                printf("filled   taker %" PRIu64 " maker %" PRIu64 " %" PRIu32 " lots at %" PRIu32 " fees %" PRId64 " and %" PRId64
                       "\n",
                       e->taker_id, e->maker_id, e->lots, e->price, e->taker_fee, e->maker_fee);
                break;
            case RING0_EVENT_REMOVED:
                printf("removed  order %" PRIu64 " %" PRIu32 " lots, cause %c\n", e->order_id, e->lots, e->removal);
                break;
            case RING0_EVENT_REDUCED:
                printf("reduced  order %" PRIu64 " by %" PRIu32 " to %" PRIu32 "\n", e->order_id, e->lots, e->open);
                break;
            case RING0_EVENT_REPLACED:
                printf("replaced order %" PRIu64 " was %" PRIu64 ", %" PRIu32 " lots at %" PRIu32 "\n", e->order_id,
                       e->previous_id, e->lots, e->price);
                break;
            default: // of a later version
                break;
            }
        }
    }
    need(count == 0, "poll");
}

static void print_depth(ring0_engine *engine) {
    const uint8_t sides[] = {RING0_SELL, RING0_BUY};
    for (int s = 0; s < 2; s++) {
        ring0_level levels[8];
        int64_t count = ring0_depth(engine, 0, sides[s], levels, 8);
        need(count >= 0, "depth");
        for (int64_t i = 0; i < count; i++)
            printf("depth    %c %" PRIu32 ": %" PRIu64 " lots, %" PRIu32 " orders\n", sides[s], levels[i].price, levels[i].lots,
                   levels[i].orders);
    }
}

int main(void) {
    ring0_options options;
    need(ring0_options_default(&options) == RING0_ACCEPTED, "options");
    const char *symbols[] = {"EXAMPLE"};
    options.symbols = symbols;
    options.traders = 2;
    options.taker_ppm = 3000;
    options.maker_ppm = -1000;

    ring0_engine *engine;
    need(ring0_create(&options, &engine) == RING0_ACCEPTED, "create");

    // Two quotes on each side, in one packet. Zero means "not asked" in every field.
    ring0_order quotes[4] = {
        {.trader = MAKER, .side = RING0_SELL, .price = 1002, .lots = 30},
        {.trader = MAKER, .side = RING0_SELL, .price = 1001, .lots = 20},
        {.trader = MAKER, .side = RING0_BUY, .price = 999, .lots = 20},
        {.trader = MAKER, .side = RING0_BUY, .price = 998, .lots = 30},
    };
    ring0_ack acks[4];
    need(ring0_submit_batch(engine, quotes, 4, acks) == 4, "quotes");

    // Takes the best ask and a part of the next.
    ring0_ack ack;
    need(ring0_ioc(engine, TAKER, 0, RING0_BUY, 1002, 25, &ack) == RING0_ACCEPTED, "taker");
    printf("taker    filled %" PRIu32 " lots\n", ack.lots);

    // Rejected: it would take.
    int outcome = ring0_post_only(engine, TAKER, 0, RING0_BUY, 1002, 1, &ack);
    need(outcome == RING0_REJECTED && ack.reason == RING0_REASON_WOULD_CROSS, "post-only");
    printf("rejected %s: %s\n", ring0_reason_name(ack.reason), ring0_reason_help(ack.reason));

    need(ring0_reduce(engine, MAKER, 0, acks[3].reference, 10, NULL) == RING0_ACCEPTED, "reduce");
    need(ring0_replace(engine, MAKER, 0, acks[2].reference, 1000, 15, NULL) == RING0_ACCEPTED, "replace");
    print_events(engine);
    print_depth(engine);

    ring0_level bid, ask;
    need(ring0_best(engine, 0, &bid, &ask) == RING0_ACCEPTED, "best");
    printf("best     %" PRIu32 " / %" PRIu32 "\n", bid.price, ask.price);

    need(ring0_mass_cancel(engine, MAKER, RING0_ALL, RING0_BOTH, &ack) == RING0_ACCEPTED, "mass cancel");
    printf("gone     %" PRIu32 " orders\n", ack.lots);
    need(ring0_check(engine) == RING0_ACCEPTED, "check");
    ring0_destroy(engine);
    return 0;
}
