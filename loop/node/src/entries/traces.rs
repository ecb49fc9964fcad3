//! Node's trace events: which scope begins or ends, which resource lives, and where V8 drains its queue.

use super::{Entries, Runtime};
use crate::names::{Class, NameId, Named};
use crate::sys::{TraceEvent, TraceName};
use loopscope_probe::{Kind, Phase};

impl<R: Runtime> Entries<R> {
    #[inline(always)]
    pub(super) fn trace(&mut self, event: TraceEvent) {
        let Some((name, named)) = self.names.resolve(&mut self.writer, event.name) else { return };
        // First what comes with each callback.
        match (named.class, event.phase) {
            (Class::Callback, b'b') => self.scope_begins(named, event.id),
            (Class::Callback, b'e') => self.scope_ends(),
            _ => self.other_trace(event, name, named),
        }
    }

    #[inline(never)]
    fn other_trace(&mut self, TraceEvent { phase, id, value, .. }: TraceEvent, name: NameId, named: Named) {
        match (named.class, phase) {
            (Class::Ignored, _) => {}
            (Class::Resource, b'b') => {
                self.pool_jobs += u64::from(named.kind == Kind::WorkDone);
                self.resources.born(id, name, named.is_scoped);
            }
            (Class::Resource, b'e') => self.resources.died(id),
            (Class::Resource, _) => {}
            (Class::Microtasks, b'B') => self.microtasks_begin(),
            (Class::Microtasks, b'E') => self.microtasks_end(value & u64::from(u32::MAX)),
            (Class::Microtasks, _) => {}
            (Class::NativeImmediates, phase) => self.is_in_natives = matches!(phase, b'B' | b'X'),
            (_, b'b' | b'B' | b'X') => self.scope_begins(named, 0),
            (_, b'e' | b'E') => self.scope_ends(),
            _ => {}
        }
    }

    pub(super) fn trace_ends(&mut self, name: TraceName) {
        let Some((_, named)) = self.names.resolve(&mut self.writer, name) else { return };
        match named.class {
            Class::Callback | Class::Timers | Class::Immediates => self.scope_ends(),
            Class::NativeImmediates => self.natives_end(),
            _ => {}
        }
        if named.class == Class::Timers && self.phase == Phase::CLOSE {
            self.phase = Phase::PENDING;
        }
    }

    fn scope_begins(&mut self, named: Named, id: u64) {
        if !self.is_in_entry {
            match self.scopes.is_empty() {
                true => self.writer.drained(),
                // Node calls back in the scope of immediates.
                false if self.scopes.is_untold() => self.natives_are_seen(),
                false => {}
            }
            if id != self.resource {
                self.resource = 0;
            }
        }
        self.scopes.begin(named, id);
    }

    fn scope_ends(&mut self) {
        self.scopes.end();
        if self.is_in_entry {
            return;
        }
        self.resource = 0;
        if self.scopes.is_empty() {
            self.writer.drained();
        }
    }
}
