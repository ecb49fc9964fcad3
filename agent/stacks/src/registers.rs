//! The four registers that unwinding begins with.

/// Registers of a thread at the instant of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// The address of the next instruction.
    pub ip: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer (rbp, x29), whatever the program uses it for.
    pub fp: u64,
    /// The link register (x30); 0 on x86_64, which has none.
    pub lr: u64,
}

impl Registers {
    /// Reads the registers of the interrupted code.
    ///
    /// # Safety
    /// `context` is the third argument of a handler that was installed with `SA_SIGINFO` and is still running.
    #[inline]
    pub(crate) unsafe fn of(context: *const libc::c_void) -> Registers {
        // SAFETY: the kernel passes such a handler a ucontext_t that lives while the handler runs.
        let context = unsafe { &*context.cast::<libc::ucontext_t>() };
        Self::of_machine(&context.uc_mcontext)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn of_machine(machine: &libc::mcontext_t) -> Registers {
        let register = |index: libc::c_int| machine.gregs[index as usize] as u64;
        Registers {
            ip: register(libc::REG_RIP),
            sp: register(libc::REG_RSP),
            fp: register(libc::REG_RBP),
            lr: 0,
        }
    }

    #[cfg(target_arch = "aarch64")]
    #[inline]
    fn of_machine(machine: &libc::mcontext_t) -> Registers {
        Registers { ip: machine.pc, sp: machine.sp, fp: machine.regs[29], lr: machine.regs[30] }
    }
}
