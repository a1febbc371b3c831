//! What time it is in the cluster. The clocks of machines differ, so that whatever is compared with another
//! machine's time, such as the expiry of a run, goes by the API server's.

use anyhow::{Context, anyhow};
use http::header::DATE;
use http::{HeaderMap, Request};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use kube::client::Body;

use super::{Cluster, explain};

/// The API server's time in this moment, in whole seconds.
pub async fn now(cluster: &Cluster) -> anyhow::Result<Timestamp> {
    let action = "asking the API server for the time";
    // The smallest answer that there is. Even a refusal tells the time.
    let request = Request::get("/version").body(Body::empty()).context(action)?;
    let answer = cluster.client.send(request).await.map_err(|error| explain(cluster, error, action))?;
    date(answer.headers()).context(action)
}

fn date(headers: &HeaderMap) -> anyhow::Result<Timestamp> {
    let value = headers.get(DATE).ok_or_else(|| anyhow!("its answer has no Date header"))?;
    DateTimeParser::new()
        .parse_timestamp(value.as_bytes())
        .with_context(|| format!("its answer's Date header is {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_the_one_of_the_answer() {
        let mut headers = HeaderMap::new();
        assert!(date(&headers).is_err());
        headers.insert(DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        assert_eq!(date(&headers).unwrap().to_string(), "1994-11-06T08:49:37Z");
        headers.insert(DATE, "yesterday".parse().unwrap());
        assert!(format!("{:#}", date(&headers).unwrap_err()).contains("yesterday"));
    }
}
