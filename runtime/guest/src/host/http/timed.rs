//! A response body that may not be silent for longer than the guest allows between two pieces.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error;

/// The body, and when its silence has been too long.
pub struct Timed {
    body: Incoming,
    between: Duration,
    silence: Pin<Box<Sleep>>,
}

impl Timed {
    /// A body whose next piece is due within `between`.
    pub fn new(body: Incoming, between: Duration) -> Self {
        Self { body, between, silence: Box::pin(sleep(between)) }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                let due = Instant::now() + self.between;
                self.silence.as_mut().reset(due);
                Poll::Ready(frame.map(|frame| frame.map_err(|_| Error::HttpResponseIncomplete)))
            }
            Poll::Pending => {
                ready!(self.silence.as_mut().poll(context));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
