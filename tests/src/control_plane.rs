//! A Kubernetes without nodes: the real etcd, kube-apiserver and, where asked, kube-controller-manager, on free ports of the
//! loopback address, up in seconds. Nothing runs the pods; [`crate::kubelet`] says that they do.
//!
//! The programs are those of `tests/cluster/cluster.sh`; they are looked for in `target/tools/bin` and on the path.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tempfile::TempDir;

use crate::{guests::repository, ports, process::Process, wait::eventually_within};

const ADDRESS: &str = "127.0.0.1";
const SERVICES: &str = "10.96.0.0/16";
const FIRST_SERVICE: &str = "10.96.0.1";
/// How long the API server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running control plane, which ends with this value.
pub struct ControlPlane {
    folder: TempDir,
    port: u16,
    etcd_port: u16,
    peer_port: u16,
    etcd: Option<Process>,
    api_server: Option<Process>,
    controllers: Option<Process>,
}

fn program(name: &str) -> Command {
    let built = repository().join("target/tools/bin").join(name);
    Command::new(if built.is_file() { built } else { PathBuf::from(name) })
}

impl ControlPlane {
    /// Starts etcd and an API server that has the CRD.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = repository().join("tests/cluster/pki.sh");
        let made = Command::new(pki).arg(folder.path().join("pki")).args([ADDRESS, FIRST_SERVICE]).stderr(Stdio::null()).status().unwrap();
        assert!(made.success(), "tests/cluster/pki.sh failed: is openssl installed?");
        let mut plane = Self {
            folder,
            port: ports::free(),
            etcd_port: ports::free(),
            peer_port: ports::free(),
            etcd: None,
            api_server: None,
            controllers: None,
        };
        let kubeconfig = fs::read_to_string(plane.kubeconfig()).unwrap().replace(":6443", &format!(":{}", plane.port));
        fs::write(plane.kubeconfig(), kubeconfig).unwrap();
        plane.start_etcd();
        plane.start_api_server();
        let crd = repository().join("crds/spinredisapps.yaml");
        plane.kubectl(&["apply", "--server-side", "-f", crd.to_str().unwrap()]);
        // kubectl gives up at once on a CRD that has no conditions yet.
        let wait = ["wait", "--for=condition=Established", "crd/spinredisapps.spinredis.dev", "--timeout=5s"];
        eventually_within(PATIENCE, "the CRD is established", || plane.try_kubectl(&wait).map(drop));
        eventually_within(PATIENCE, "the namespace default", || plane.try_kubectl(&["get", "namespace", "default"]).map(drop));
        plane
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file that names this API server, and a user who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("pki/admin.kubeconfig")
    }

    /// The log of every request that was answered.
    pub fn audit_log(&self) -> PathBuf {
        self.path("audit.log")
    }

    fn start_etcd(&mut self) {
        let client_url = format!("http://{ADDRESS}:{}", self.etcd_port);
        let peer_url = format!("http://{ADDRESS}:{}", self.peer_port);
        let mut etcd = program("etcd");
        etcd.arg("--data-dir").arg(self.path("etcd")).args(["--unsafe-no-fsync", "--log-level=error"]);
        etcd.args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
        etcd.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
        etcd.args(["--initial-cluster", &format!("default={peer_url}")]);
        self.etcd = Some(Process::start(&mut etcd));
    }

    /// Keeps what etcd has now, for [`restore`](Self::restore). API server and etcd are down meanwhile.
    pub fn back_up(&mut self) {
        self.with_etcd_down(&[("etcd", "backup")]);
    }

    /// Brings etcd back to its backup: what came since is lost, and versions count from there on.
    pub fn restore(&mut self) {
        self.with_etcd_down(&[("etcd", "lost"), ("backup", "etcd")]);
    }

    /// Copies folders while nothing runs that would write into them.
    fn with_etcd_down(&mut self, copies: &[(&str, &str)]) {
        self.kill_api_server();
        self.etcd = None;
        for (from, to) in copies {
            let (from, to) = (self.path(from), self.path(to));
            if to.exists() {
                fs::remove_dir_all(&to).unwrap();
            }
            let copied = Command::new("cp").arg("-r").args([&from, &to]).status().unwrap();
            assert!(copied.success(), "{} cannot be copied to {}", from.display(), to.display());
        }
        self.start_etcd();
        self.start_api_server();
    }

    /// Starts the API server and waits until it answers.
    pub fn start_api_server(&mut self) {
        let pki = |name: &str| self.path("pki").join(name).to_string_lossy().into_owned();
        let policy = self.path("audit.yaml");
        fs::write(&policy, "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n")
            .unwrap();
        let mut server = program("kube-apiserver");
        server.args([
            &format!("--etcd-servers=http://{ADDRESS}:{}", self.etcd_port),
            &format!("--bind-address={ADDRESS}"),
            &format!("--advertise-address={ADDRESS}"),
            &format!("--secure-port={}", self.port),
            "--authorization-mode=RBAC",
            // Nothing makes tokens here, and no pod runs that would need one.
            "--disable-admission-plugins=ServiceAccount",
            &format!("--service-cluster-ip-range={SERVICES}"),
            &format!("--client-ca-file={}", pki("ca.crt")),
            &format!("--tls-cert-file={}", pki("apiserver.crt")),
            &format!("--tls-private-key-file={}", pki("apiserver.key")),
            "--service-account-issuer=https://kubernetes.default.svc",
            &format!("--service-account-key-file={}", pki("service-accounts.key")),
            &format!("--service-account-signing-key-file={}", pki("service-accounts.key")),
            &format!("--audit-policy-file={}", policy.display()),
            &format!("--audit-log-path={}", self.audit_log().display()),
            "--endpoint-reconciler-type=none",
        ]);
        self.api_server = Some(Process::start(&mut server));
        eventually_within(PATIENCE, "the API server answers", || {
            let ended = self.api_server.as_mut().and_then(Process::ended);
            assert_eq!(ended, None, "kube-apiserver ended: {}", self.api_server.as_ref().unwrap().text());
            self.try_kubectl(&["get", "--raw", "/readyz"]).map(drop)
        });
    }

    /// Ends the API server at once; clients see their connections reset.
    pub fn kill_api_server(&mut self) {
        self.api_server = None;
    }

    /// Starts the controllers of Kubernetes itself: Deployments get pods, and what has lost its owner goes.
    pub fn start_controllers(&mut self) {
        let mut manager = program("kube-controller-manager");
        // As `admin`: the rights of the controllers come with ServiceAccounts, which have no tokens here.
        manager.arg("--kubeconfig").arg(self.kubeconfig());
        manager.arg("--service-account-private-key-file").arg(self.path("pki").join("service-accounts.key"));
        manager.args(["--leader-elect=false", "--secure-port=0", "--use-service-account-credentials=false"]);
        manager.arg("--controllers=deployment-controller,replicaset-controller,garbage-collector-controller,namespace-controller");
        self.controllers = Some(Process::start(&mut manager));
    }

    /// What the controllers of Kubernetes logged.
    pub fn controllers_log(&self) -> String {
        self.controllers.as_ref().map(Process::text).unwrap_or_default()
    }

    /// Runs kubectl against this API server; a failure ends the test.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")))
    }

    fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = program("kubectl").arg("--kubeconfig").arg(self.kubeconfig()).args(arguments).output();
        let output = output.map_err(|error| format!("kubectl cannot be started ({error}): run tests/cluster/cluster.sh tools"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// How a client reaches this API server. It calls itself by a name of the tests, so that logs tell its requests from the
    /// operator's.
    pub async fn config(&self) -> Config {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.headers.push((USER_AGENT, HeaderValue::from_static("spinredis-tests")));
        config
    }

    /// A client of it.
    pub async fn client(&self) -> Client {
        // Connected as the operator is: with Nagle's algorithm a POST on a new connection takes 40 ms, whatever is measured.
        spin_redis_operator::client::connect(self.config().await).unwrap()
    }
}
