//! Limits in shadow: they decide and count as ever, and nobody waits for them.

use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::core::Core;
use super::route::Route;
use super::stats::Counted;
use super::take;
use super::taken::Taken;
use crate::policy::bucket::Decision;

impl Route {
    /// Asks the limits in shadow, once the others have decided. Those in Redis answer later.
    pub(super) fn ask_shadows(&self, taken: &mut [Taken]) {
        for t in taken {
            let limit = &self.limits[t.limit];
            if !limit.rule.shadow {
                continue;
            }
            let core = &limit.limiter.core;
            if core.shared.is_none() {
                t.decision = core.take_here(t.principal, t.cost);
                core.count_shadow(t.decision);
                continue;
            }
            // Without a runtime Redis does not answer either.
            let Ok(runtime) = Handle::try_current() else {
                continue;
            };
            let (limiter, principal, cost) = (limit.limiter.clone(), t.principal, t.cost);
            let (tell, later) = oneshot::channel();
            runtime.spawn(async move {
                let alone = AtomicBool::new(false);
                let charge = limiter.core.charge(principal, cost).telling(&alone);
                let decision = take::uncounted(&charge).await;
                limiter.core.count_shadow(decision);
                // Nobody listens where nothing is settled.
                let _ = tell.send((decision, alone.into_inner()));
            });
            t.later = Some(later);
        }
    }
}

impl Core {
    fn count_shadow(&self, decision: Decision) {
        self.counters.count(match decision {
            Decision::Admitted { .. } => Counted::ShadowAdmitted,
            _ => Counted::ShadowRefused,
        });
    }
}
