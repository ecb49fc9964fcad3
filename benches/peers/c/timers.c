/* libuv's timers: start and fire, start and cancel, refresh, re-arm.
 *
 * Handles are made once and used again, which is the cheapest that a program on libuv can do.
 */
#include "driver.h"

static uv_loop_t *loop;
static long fired;
static long wanted;

static void on_fire(uv_timer_t *timer) {
  (void)timer;
  fired++;
}

static void on_fire_and_stop(uv_timer_t *timer) {
  (void)timer;
  if (++fired == wanted) uv_stop(loop);
}

static uv_timer_t *timers(long count) {
  uv_timer_t *made = room_for(count, sizeof *made);
  for (long at = 0; at < count; at++) uv_timer_init(loop, &made[at]);
  return made;
}

static void start_and_fire(uint64_t (*duration_ms)(void)) {
  uv_timer_t *made = NULL;
  long count, room = 0;
  while ((count = next_round()) > 0) {
    if (count > room) made = timers(room = count);
    fired = 0;
    uv_update_time(loop);
    for (long at = 0; at < count; at++) uv_timer_start(&made[at], on_fire, duration_ms(), 0);
    uv_run(loop, UV_RUN_DEFAULT);
    if (fired != count) exit(1);
    round_done();
  }
}

#define PENDING 100000
#define OUTSTANDING 1024

/* Beside many that are pending, always the oldest of a thousand is stopped and a new one started. */
static void start_and_cancel(long pending, uint64_t (*duration_ms)(void)) {
  uv_timer_t *made = timers(pending);
  for (long at = 0; at < pending; at++) uv_timer_start(&made[at], on_fire, duration_ms(), 0);
  uv_timer_t *ring = timers(OUTSTANDING);
  long count;
  while ((count = next_round()) > 0) {
    for (long at = 0; at < count; at++) {
      uv_timer_t *timer = &ring[at % OUTSTANDING];
      uv_timer_stop(timer);
      uv_timer_start(timer, on_fire, duration_ms(), 0);
    }
    round_done();
  }
}

static uint64_t some_few_far_ms(void) { return 60000 + FEW_MS[random_bits() % 5]; }

/* The way that libuv offers for a time-out of a connection on which something moved. */
static void refresh(void) {
  uv_timer_t *made = timers(10000);
  for (long at = 0; at < 10000; at++) uv_timer_start(&made[at], on_fire, 60000, 60000);
  long count;
  while ((count = next_round()) > 0) {
    for (long at = 0; at < count; at++) uv_timer_again(&made[at % 10000]);
    round_done();
  }
}

static void rearm(void) {
  uv_timer_t *made = timers(PENDING);
  for (long at = 0; at < PENDING; at++) {
    uint64_t period = period_ms();
    uv_timer_start(&made[at], on_fire_and_stop, period, period);
  }
  while ((wanted = next_round()) > 0) {
    fired = 0;
    uv_run(loop, UV_RUN_DEFAULT);
    round_done();
  }
}

static void hold(void) {
  long count;
  while ((count = next_round()) > 0) {
    uv_timer_t *made = timers(count);
    for (long at = 0; at < count; at++) uv_timer_start(&made[at], on_fire, far_ms(), 0);
    round_done();
  }
}

int main(int argc, char **argv) {
  loop = uv_default_loop();
  const char *row = argc > 1 ? argv[1] : "";
  long pending = argc > 2 ? strtol(argv[2], NULL, 10) : PENDING;
  if (!strcmp(row, "timers-random")) start_and_fire(random_ms);
  else if (!strcmp(row, "timers-few")) start_and_fire(few_ms);
  else if (!strcmp(row, "cancel-random")) start_and_cancel(pending, far_ms);
  else if (!strcmp(row, "cancel-few")) start_and_cancel(pending, some_few_far_ms);
  else if (!strcmp(row, "refresh")) refresh();
  else if (!strcmp(row, "rearm")) rearm();
  else if (!strcmp(row, "timer-memory")) hold();
  else return 2;
  return 0;
}
