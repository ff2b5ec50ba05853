//! What Zibrato's workers share that send over HTTP: [addresses](ServiceUrl), [secrets](Secret), a [client](Client) with the [way](Way) to a service, and
//! a [submission](Submission) that finds what a service refuses among what it takes.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use zibrato_http::{Client, Request, Secret, ServiceUrl, Way, bearer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let service: ServiceUrl = "https://metrics.example.com".parse()?;
//! let client = Client::new(&service, &Way::default(), Duration::from_secs(30))?;
//! let token = Secret::new("token", "s3cr3t");
//! let request = Request::new(service.join("/api/v2/write"), "text/plain", "m v=1i 5".into())
//!     .header("authorization", bearer("Token", &token)?)
//!     .gzip(true);
//! let answer = client.post(request).await?;
//! println!("{}", token.hide_in(&answer.said(&answer.body)));
//! # Ok(())
//! # }
//! ```

mod answer;
mod auth;
mod client;
mod error;
mod header;
mod secret;
mod submission;
mod url;
mod way;

pub use answer::{Answer, LONGEST_WAIT};
pub use auth::{basic, bearer};
pub use client::{Client, Request};
pub use error::Error;
pub use header::{Header, secret_headers};
/// The types of addresses and headers.
pub use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
pub use secret::{Secret, SecretPlace};
pub use submission::Submission;
pub use url::{BadUrl, ServiceUrl, timeout};
pub use way::{Proxy, Way};
