/* libuv's thread pool: so many jobs outstanding, each completion submits the next. */
#include "driver.h"

static uv_loop_t *loop;
static long left, outstanding;

static void job(uv_work_t *work) { (void)work; }

static void done(uv_work_t *work, int status) {
  must(status, "uv_queue_work");
  if (left > 0) {
    left--;
    uv_queue_work(loop, work, job, done);
  }
}

int main(int argc, char **argv) {
  loop = uv_default_loop();
  outstanding = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
  uv_work_t *work = room_for(outstanding, sizeof *work);
  while ((left = next_round()) > 0) {
    for (long at = 0; at < outstanding && left > 0; at++, left--) uv_queue_work(loop, &work[at], job, done);
    uv_run(loop, UV_RUN_DEFAULT);
    round_done();
  }
  return 0;
}
