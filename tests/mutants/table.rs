//! The ways in which the loop is broken on purpose: rules of Node, each left out once, and some of streams.

/// One place to change: the file, what is there, and what is put there instead.
pub type Edit = (&'static str, &'static str, &'static str);

/// A broken loop: what is wrong with it, and how it is made.
pub type Mutant = (&'static str, &'static [Edit]);

/// All of them.
#[rustfmt::skip]
pub const MUTANTS: &[Mutant] = &[
    ("close callbacks first in, first out", &[
        ("phases/close.rs",
            "= stack.pop()",
            "= (!stack.is_empty()).then(|| stack.remove(0))"),
    ]),
    ("a close in a close callback runs at once", &[
        ("phases/close.rs",
            "= stack.pop()",
            "= self.core.closing.pop().or_else(|| stack.pop())"),
    ]),
    ("microtasks only after the check phase", &[
        ("phases/check.rs",
            "            self.drain();\n        }\n",
            "        }\n        self.drain();\n"),
    ]),
    ("microtasks only after a list of timers", &[
        ("phases/timers.rs",
            "refreshing it does not save it.\n                self.drain();",
            "refreshing it does not save it."),
    ]),
    ("no drain between two lists of timers", &[
        ("phases/timers.rs",
            "            if has_run {\n                self.drain();\n            }\n",
            ""),
    ]),
    ("microtasks only after the close phase", &[
        ("phases/close.rs",
            "                self.drain();\n            }\n        }\n",
            "            }\n        }\n        self.drain();\n"),
    ]),
    ("microtasks only after all completions", &[
        ("operations/work.rs",
            "            self.deliver(finished);\n            self.drain();\n        }\n",
            "            self.deliver(finished);\n        }\n        self.drain();\n"),
    ]),
    ("promises before ticks", &[
        ("drain.rs",
            "        loop {\n            if !self.core.queues.ticks",
            "        loop {\n            if self.core.queues.has_microtasks() {\n                self.drain_queue(Queue::Microtask, Self::run_microtask);\n            }\n            if !self.core.queues.ticks"),
    ]),
    ("ticks looked at between two microtasks", &[
        ("drain.rs",
            "Self::run_microtask);\n            }\n            if self.core.queues.is_empty()",
            "{\n                    let mut has_run = false;\n                    move |cx: &mut Self| !std::mem::replace(&mut has_run, true) && cx.run_microtask()\n                });\n            }\n            if self.core.queues.is_empty()"),
    ]),
    ("one queue for ticks and microtasks", &[
        ("drain.rs",
            "self.core.queues.ticks.push_back((site, Box::new(run)));",
            "self.core.queues.microtasks.push_back(Microtask::Run(site, Box::new(run)));"),
    ]),
    ("microtasks last in, first out", &[
        ("queues/microtasks.rs",
            "self.microtasks.pop_front()",
            "self.microtasks.pop_back()"),
    ]),
    ("a callback that blocked lengthens the sleep", &[
        ("phases/poll.rs",
            "        self.core.clock.refresh();\n        self.core.backend_timeout",
            "        self.core.backend_timeout"),
    ]),
    ("an immediate made in the phase joins it", &[
        ("phases/check.rs",
            "            self.drain();\n        }\n",
            "            self.drain();\n            left = self.core.immediates.queue.len();\n        }\n"),
    ]),
    ("immediates last in, first out", &[
        ("phases/check.rs",
            "        self.core.enter_phase(Phase::CHECK);\n",
            "        self.core.enter_phase(Phase::CHECK);\n        self.core.immediates.queue.make_contiguous().reverse();\n"),
    ]),
    ("a cleared immediate still runs", &[
        ("queues/immediates.rs",
            "        let (run, is_ref) = (waiting.run.take()?, waiting.is_ref);\n        self.referenced -= usize::from(is_ref);\n        self.open -= 1;\n        Some(run)",
            "        let is_ref = std::mem::replace(&mut waiting.is_ref, false);\n        self.referenced -= usize::from(is_ref);\n        Some(Box::new(|_| {}))"),
    ]),
    ("one immediate an iteration", &[
        ("phases/check.rs",
            "let mut left = self.core.immediates.queue.len();",
            "let mut left = self.core.immediates.queue.len().min(1);"),
    ]),
    ("timers before the poll and not after close", &[
        ("phases/run.rs",
            "        self.run_timers();\n        self.run_idle();\n        Ok(())",
            "        Ok(())"),
        ("phases/run.rs",
            "        let timeout = match mode {",
            "        self.core.clock.refresh();\n        self.run_timers();\n        let timeout = match mode {"),
    ]),
    ("close before check", &[
        ("phases/run.rs",
            "        self.run_immediates();\n        self.run_closing();",
            "        self.run_closing();\n        self.run_immediates();"),
    ]),
    ("check before the poll", &[
        ("phases/run.rs",
            "        self.run_poll(timeout)?;\n        self.run_pending_after_poll();\n        self.run_hooks(Hook::Check);\n        self.run_immediates();",
            "        self.run_immediates();\n        self.run_poll(timeout)?;\n        self.run_pending_after_poll();\n        self.run_hooks(Hook::Check);"),
    ]),
    ("no timers pass before the first iteration", &[
        ("phases/run.rs",
            "            self.run_timers();\n            self.run_idle();\n        }",
            "            self.run_idle();\n        }"),
    ]),
    ("timers in the pure order of their deadlines", &[
        ("queues/timer_lists.rs",
            "match self.by_duration.get(duration_ms) {",
            "self.by_duration.remove(duration_ms);\n        match self.by_duration.get(duration_ms) {"),
    ]),
    ("a timer that became due in the pass runs in it", &[
        ("phases/timers.rs",
            "            if expiry_ms > now_ms || !self.goes_on() {",
            "            let now_ms = self.core.clock.refresh();\n            if expiry_ms > now_ms || !self.goes_on() {"),
    ]),
    ("a delay of 0 ms stays 0", &[
        ("phases/timers.rs",
            "if (1.0..=NODE_DELAY_MS_MAX)",
            "if (0.0..=NODE_DELAY_MS_MAX)"),
    ]),
    ("a huge delay is not cut", &[
        ("phases/timers.rs",
            "if (1.0..=NODE_DELAY_MS_MAX).contains(&delay_ms)",
            "if delay_ms >= 1.0"),
    ]),
    ("equal deadlines last in, first out", &[
        ("queues/timer_lists.rs",
            "        let tail = std::mem::replace(&mut list.tail, node.0);\n        if tail == NIL {\n            (list.head, list.forward) = (node.0, node.0);\n        } else if list.forward != tail {\n            let before = std::mem::replace(&mut list.forward, tail);\n            self.nodes[before as usize].next = tail;\n        }",
            "        let head = std::mem::replace(&mut list.head, node.0);\n        if head == NIL {\n            (list.tail, list.forward) = (node.0, node.0);\n        } else {\n            self.nodes[head as usize].prev = node.0;\n        }"),
        ("queues/timer_lists.rs",
            "= (slot, tail, NIL);",
            "= (slot, NIL, head);"),
    ]),
    ("an interval counts from after its callback", &[
        ("phases/timers.rs",
            "            timers.arm(node, start_ms, now_ms);",
            "            let now_ms = self.core.clock.refresh();\n            self.core.timers.arm(node, start_ms.max(now_ms), now_ms);"),
    ]),
    ("an interval is re-armed before its callback", &[
        ("phases/timers.rs",
            "        self.enter(Kind::Timer, site, life, |cx| run.run_again(cx));",
            "        if repeat == Repeat::Every {\n            let now_ms = self.core.clock.now_ms();\n            self.core.timers.arm(node, start_ms, now_ms);\n        }\n        self.enter(Kind::Timer, site, life, |cx| run.run_again(cx));"),
        ("phases/timers.rs",
            "            timers.arm(node, start_ms, now_ms);\n",
            ""),
    ]),
    ("an interval catches up", &[
        ("phases/timers.rs",
            "if repeat == Repeat::Every { core.clock.refresh() } else { 0 }",
            "if repeat == Repeat::Every { start_ms + duration_ms } else { 0 }"),
    ]),
    ("refresh does nothing", &[
        ("phases/timers.rs",
            "        core.timers.arm(node, now_ms, now_ms);\n        let timer",
            "        if now_ms < u64::MAX {\n            return true;\n        }\n        let timer"),
    ]),
    ("unref does nothing to timers", &[
        ("operations/keys.rs",
            "return core.timers.set_ref(key, is_ref);",
            "return core.timers.is_ref(key).is_some();"),
    ]),
    ("unref does nothing to immediates", &[
        ("operations/keys.rs",
            "return core.immediates.set_ref(key, is_ref);",
            "return core.immediates.is_ref(key).is_some();"),
    ]),
    ("unref counts twice", &[
        ("queues/timers.rs",
            "timer.is_spent || was_ref == is_ref",
            "timer.is_spent || was_ref && is_ref"),
    ]),
    ("unreferenced timers never run", &[
        ("phases/timers.rs",
            "        let site = core.sites.numbered(place);\n        if repeat",
            "        if !is_ref {\n            core.timers.lists.unlink(node);\n            return;\n        }\n        let site = core.sites.numbered(place);\n        if repeat"),
    ]),
    ("a closing handle does not keep the loop alive", &[
        ("core.rs",
            " || !self.pending.is_empty() || !self.closing.is_empty()",
            " || !self.pending.is_empty()"),
    ]),
    ("the poll sleeps although an immediate waits", &[
        ("phases/poll.rs",
            "            || self.immediates.referenced > 0\n",
            ""),
    ]),
    ("the poll sleeps although a close waits", &[
        ("phases/poll.rs",
            "            || !self.closing.is_empty()\n",
            ""),
    ]),
    ("a post made in a post joins the batch", &[
        ("operations/remote_handle.rs",
            "            self.enter(Kind::Async, site, TaskTimes::ready_at(stamp), run);\n            self.drain();\n",
            "            self.enter(Kind::Async, site, TaskTimes::ready_at(stamp), run);\n            self.drain();\n            let core = &mut *self.core;\n            core.mailbox.take(&mut core.posted);\n            left = core.posted.len();\n"),
    ]),
    ("posts before pool completions", &[
        ("phases/poll.rs",
            "        self.run_finished();\n        self.run_wakes();\n        self.run_posted();",
            "        self.run_posted();\n        self.run_finished();\n        self.run_wakes();"),
    ]),
    ("a post from a completion waits a poll", &[
        ("phases/poll.rs",
            "        self.run_finished();\n        self.run_wakes();",
            "        self.core.mailbox.take(&mut self.core.posted);\n        self.run_finished();\n        self.run_wakes();"),
        ("operations/remote_handle.rs",
            "        if self.core.waker.has_posted() {\n            let core",
            "        if self.core.phase != loopscope_probe::Phase::POLL {\n            let core"),
    ]),
    ("pool jobs last in, first out", &[
        ("lanes.rs",
            "match self.main.pop_front()? {",
            "match self.main.pop_back()? {"),
    ]),
    ("a pool of one thread", &[
        ("simulate.rs",
            "(wanted, idle, has_started, probe) = (threads, threads,",
            "(wanted, idle, has_started, probe) = (threads, 1,"),
    ]),
    ("a pool without bound", &[
        ("simulate.rs",
            "(wanted, idle, has_started, probe) = (threads, threads,",
            "(wanted, idle, has_started, probe) = (threads, 999,"),
    ]),
    ("cancel stops running jobs, too", &[
        ("simulate.rs",
            "        let Some((job, submitted)) = workers.lanes.cancel(Key::NOBODY, key) else { return false };",
            "        let Some((job, submitted)) = workers.lanes.cancel(Key::NOBODY, key) else {\n            let is_it = |event: &Event| matches!(event, Event::End(running) if running.key == key);\n            let Some(at) = workers.events.iter().position(|(_, event)| is_it(event)) else { return false };\n            let (_, Event::End(running)) = workers.events.remove(at) else { return false };\n            workers.lanes.ended(running.job.kind);\n            let (submitted, outcome) = (running.job.submitted, Err(WorkError::Cancelled));\n            workers.finished.push_back(Finished { key, outcome, submitted, finished: Ticks::NONE });\n            self.0.waker.count(News::Finished);\n            let now_ns = self.0.clock.now_ns();\n            workers.events.push((now_ns, Event::Take));\n            return true;\n        };"),
    ]),
    ("cancel does nothing", &[
        ("operations/work.rs",
            "let is_cancelled = is_work && self.core.pool.cancel(key);",
            "let is_cancelled = is_work && key == Key::NOBODY && self.core.pool.cancel(key);"),
    ]),
    ("no before-exit callbacks", &[
        ("phases/run.rs",
            "            self.run_before_exit();\n",
            ""),
    ]),
    ("before-exit callbacks do not revive", &[
        ("phases/run.rs",
            "            if !self.core.is_alive() || !self.goes_on() {\n                return Ok(self.core.is_alive());",
            "            if self.core.iteration < u64::MAX {\n                return Ok(self.core.is_alive());"),
    ]),
    ("no drain after before-exit callbacks", &[
        ("phases/run.rs",
            "            self.enter(Kind::Other, site, TaskTimes::UNKNOWN, run);\n        }\n        self.drain();",
            "            self.enter(Kind::Other, site, TaskTimes::UNKNOWN, run);\n        }"),
    ]),
    ("microtasks only after all posts", &[
        ("operations/remote_handle.rs",
            "            self.enter(Kind::Async, site, TaskTimes::ready_at(stamp), run);\n            self.drain();\n        }\n",
            "            self.enter(Kind::Async, site, TaskTimes::ready_at(stamp), run);\n        }\n        self.drain();\n"),
    ]),
    ("hooks first started first", &[
        ("phases/hooks.rs",
            "lists[hook as usize].push_front(key);",
            "lists[hook as usize].push_back(key);"),
    ]),
    ("deferred callbacks without a bound", &[
        ("phases/pending.rs",
            "const ROUNDS_AFTER_POLL: usize = 8;",
            "const ROUNDS_AFTER_POLL: usize = 8_000;"),
    ]),
    ("signals before sockets", &[
        ("operations/sockets.rs",
            "        self.core.note_edges();\n        let mut left",
            "        self.core.note_edges();\n        self.run_signals();\n        let mut left"),
    ]),
    ("an unreferenced timer does not shorten the sleep", &[
        ("phases/poll.rs",
            "self.timers.alarm_ms().map(",
            "self.timers.alarm_ms().filter(|_| self.timers.keep_alive()).map("),
    ]),
    ("a due timer runs although the loop is not alive", &[
        ("phases/run.rs",
            "if is_alive && mode == Mode::Default && !self.core.is_stopping {",
            "if mode == Mode::Default && !self.core.is_stopping {"),
    ]),
    ("a stop in an iteration lets its poll sleep", &[
        ("phases/poll.rs",
            "self.is_stopping\n            || !self.has_active()",
            "!self.has_active()"),
    ]),
    ("the last job cancelled completes first", &[
        ("simulate.rs",
            "        workers.finished.push_back(Finished { key, outcome, submitted, finished });\n        self.0.waker",
            "        workers.finished.push_front(Finished { key, outcome, submitted, finished });\n        self.0.waker"),
    ]),
    // Rules of streams, which Node has as well and no order shows.
    ("a stream sends a queued byte twice", &[
        ("operations/transfer.rs",
            "self.outgoing.queue.drain(..count);",
            "self.outgoing.queue.drain(..count.saturating_sub(1).max(1));"),
    ]),
    ("a stream forgets what the kernel did not take", &[
        ("operations/write.rs",
            "        left.queue(&mut stream.outgoing.queue);\n",
            ""),
    ]),
    ("a stream ends before it has sent its queue", &[
        ("handles/stream.rs",
            "self.outgoing.end == End::Asked && self.outgoing.queue.is_empty()",
            "self.outgoing.end == End::Asked"),
    ]),
    ("a stream does not say that its queue is empty", &[
        ("operations/transfer.rs",
            "            self.emit(key, Kind::IoWrite, StreamEvent::Drained);\n",
            ""),
    ]),
    ("a paused stream goes on reading", &[
        ("operations/transfer.rs",
            "!stream.wants_data() || !stream.edges.is_readable",
            "!stream.edges.is_readable"),
    ]),
    ("a resumed stream does not look what has come", &[
        ("operations/streams.rs",
            "            self.sockets.list(key, &mut stream.edges, now);\n",
            "            let _ = now;\n"),
    ]),
    ("a stream is full one byte late", &[
        ("handles/write_queue.rs",
            "count if count < self.high_water",
            "count if count <= self.high_water"),
    ]),
    ("the end behind the last bytes of a stream is missed", &[
        ("operations/transfer.rs",
            "                        && !self.edges.is_closed\n",
            ""),
    ]),
];
