//! What programs ask of an agent that keeps their own metrics. Needs the feature `recorder`, as by default.

use crate::builder::AgentBuilder;

impl AgentBuilder {
    /// Says whether to install a recorder for the `metrics` facade, so that the program's own metrics are on the same
    /// page: false otherwise, because a process has only one, and it is the program's to choose. A program that has
    /// installed one of its own keeps it, which is said in its log. The recorder stays when the agent ends. Recording waits
    /// for the agent only where a metric is met for the first time, while the page is written.
    ///
    /// ```no_run
    /// use loopscope_agent::Agent;
    ///
    /// let agent = Agent::builder().install_recorder(true).start()?;
    /// // From here on, `metrics::counter!("orders_total").increment(1)` is on the agent's /metrics.
    /// # drop(agent);
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn install_recorder(mut self, is_wanted: bool) -> Self {
        self.server.has_recorder = is_wanted;
        self
    }
}
