/* libuv's nearest to an immediate: a check handle's callback that takes closures from a list, 1000 an iteration. */
#include "driver.h"

struct closure {
  void (*run)(struct closure *);
  struct closure *next;
};

static struct closure *first, **last = &first;
static long left;
static uv_idle_t idle;
static uv_check_t check;

static void queue(struct closure *closure) {
  closure->next = NULL;
  *last = closure;
  last = &closure->next;
}

static void run_again(struct closure *closure) {
  left--;
  if (left > 0) queue(closure);
}

static void on_idle(uv_idle_t *handle) { (void)handle; }

static void on_check(uv_check_t *handle) {
  struct closure *closure = first;
  first = NULL;
  last = &first;
  while (closure != NULL) {
    struct closure *next = closure->next;
    closure->run(closure);
    closure = next;
  }
  if (left <= 0) {
    uv_check_stop(handle);
    uv_idle_stop(&idle);
  }
}

int main(void) {
  uv_loop_t *loop = uv_default_loop();
  struct closure *closures = room_for(1000, sizeof *closures);
  uv_idle_init(loop, &idle);
  uv_check_init(loop, &check);
  while ((left = next_round()) > 0) {
    first = NULL;
    last = &first;
    for (int at = 0; at < 1000; at++) {
      closures[at].run = run_again;
      queue(&closures[at]);
    }
    uv_idle_start(&idle, on_idle);
    uv_check_start(&check, on_check);
    uv_run(loop, UV_RUN_DEFAULT);
    round_done();
  }
  return 0;
}
