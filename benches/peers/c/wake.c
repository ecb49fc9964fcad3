/* Two libuv loops on two threads that wake each other in turn. */
#include "driver.h"

static uv_async_t here, there;
static uv_loop_t other;
static long left;

static void on_there(uv_async_t *async) {
  (void)async;
  uv_async_send(&here);
}

static void on_here(uv_async_t *async) {
  (void)async;
  if (--left > 0) uv_async_send(&there);
  else uv_stop(uv_default_loop());
}

static void run_other(void *nothing) {
  (void)nothing;
  uv_run(&other, UV_RUN_DEFAULT);
}

int main(void) {
  uv_loop_t *loop = uv_default_loop();
  uv_thread_t thread;
  must(uv_loop_init(&other), "uv_loop_init");
  must(uv_async_init(loop, &here, on_here), "uv_async_init");
  must(uv_async_init(&other, &there, on_there), "uv_async_init");
  must(uv_thread_create(&thread, run_other, NULL), "uv_thread_create");
  while ((left = next_round()) > 0) {
    uv_async_send(&there);
    uv_run(loop, UV_RUN_DEFAULT);
    round_done();
  }
  return 0;
}
