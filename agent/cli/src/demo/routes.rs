//! The demo's routes: one for each way in which an event loop does work.

use super::request::Request;
use super::service::{DemoAnswer, Reply, Service, answer, answer_later};
use super::trouble::compute;
use loopscope_loop::{Cx, WorkKind};
use std::io::Read;
use std::time::Duration;

const WORK_MS_MAX: u32 = 1_000;
const CHAIN_MAX: u32 = 100_000;

/// How much of the file `/fs` reads.
const FILE_BYTES: u64 = 64 * 1024;

const INDEX: &str = "This is the demo of loopscope: an HTTP service on an instrumented event loop.\n\nGET  /hello   \
         answers at once, on the loop\nGET  /work?ms=20   computes in the thread pool\nGET  /fs           reads a \
    file in the thread pool\nGET  /chain?n=100  runs a chain of microtasks\nPOST /echo         answers with the \
    body\n";

/// Answers a request, now or later.
pub fn route(cx: &mut Cx<'_, Service>, reply: Reply, request: &Request) {
    let _span = tracing::info_span!("route").entered();
    let ok = |route, body: &[u8]| DemoAnswer { status: 200, body: body.to_vec(), route };
    match (request.method.as_str(), request.path()) {
        ("GET" | "HEAD", "/") => answer(cx, reply, &ok("/", INDEX.as_bytes())),
        ("GET" | "HEAD", "/hello") => answer(cx, reply, &ok("/hello", b"hello\n")),
        ("GET" | "HEAD", "/work") => work(cx, reply, request.number("ms", 20, WORK_MS_MAX)),
        ("GET" | "HEAD", "/fs") => read_file(cx, reply),
        ("GET" | "HEAD", "/chain") => {
            let steps = request.number("n", 100, CHAIN_MAX);
            cx.microtask(move |cx| chain(cx, reply, steps, steps));
        }
        ("POST", "/echo") => answer(cx, reply, &ok("/echo", &request.body)),
        (_, "/" | "/hello" | "/work" | "/fs" | "/chain" | "/echo") => {
            let body = b"method not allowed on this route\n".to_vec();
            answer(cx, reply, &DemoAnswer { status: 405, body, route: "refused" });
        }
        _ => {
            let body = b"no such route; see / for the list\n".to_vec();
            answer(cx, reply, &DemoAnswer { status: 404, body, route: "unknown" });
        }
    }
}

fn work(cx: &mut Cx<'_, Service>, reply: Reply, ms: u32) {
    let job = move || compute(Duration::from_millis(u64::from(ms)));
    let done = move |cx: &mut Cx<'_, Service>, result: Result<u64, _>| {
        let given = match result {
            Ok(sum) => DemoAnswer {
                status: 200,
                body: format!("worked {ms} ms: {sum:x}\n").into_bytes(),
                route: "/work",
            },
            Err(_) => DemoAnswer { status: 500, body: b"the job failed\n".to_vec(), route: "/work" },
        };
        answer_later(cx, reply, &given);
    };
    let job = cx.work(job, done);
    cx.name(job, "render_report");
}

fn read_file(cx: &mut Cx<'_, Service>, reply: Reply) {
    let job = || {
        // The program's own file is the one that is surely there.
        let mut bytes = Vec::new();
        let file = std::env::current_exe().and_then(std::fs::File::open);
        file.and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes))
    };
    let done = move |cx: &mut Cx<'_, Service>, result: Result<std::io::Result<usize>, _>| {
        let (status, body) = match result {
            Ok(Ok(bytes)) => (200, format!("read {bytes} bytes\n")),
            Ok(Err(error)) => (500, format!("cannot read: {error}\n")),
            Err(_) => (500, "the job failed\n".to_owned()),
        };
        answer_later(cx, reply, &DemoAnswer { status, body: body.into_bytes(), route: "/fs" });
    };
    let job = cx.work_kind(WorkKind::Fs, job, done);
    cx.name(job, "read_template");
}

/// One step of a chain of microtasks, as a chain of resolved promises would be.
fn chain(cx: &mut Cx<'_, Service>, reply: Reply, steps: u32, left: u32) {
    if left == 0 {
        let body = format!("ran {steps} microtasks\n").into_bytes();
        return answer_later(cx, reply, &DemoAnswer { status: 200, body, route: "/chain" });
    }
    cx.microtask(move |cx| chain(cx, reply, steps, left - 1));
}
