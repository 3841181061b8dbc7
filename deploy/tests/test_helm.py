"""The chart, rendered by Helm itself; what it makes is checked against Kubernetes' own schemas."""

import copy
import re
import unittest

import helm_python as helm
import kubernetes_validate
import yaml

from places import DEPLOY

CHART = DEPLOY / "helm" / "reveil"
# The oldest and the newest that the chart promises to work with, as far as there are schemas.
KUBERNETES = ["1.27", "1.37"]
REPLICAS = {
    "image": {"repository": "registry.example/reveil"},
    "config": '[warehouse]\ndriver = "sqlite"\nuri = "${WAREHOUSE_URI}"\n',
    "state": {"urlSecret": {"name": "reveil", "key": "url"}},
    "ledger": {"store": "s3://bucket/reveil"},
    "server": {
        "publicUrl": "https://reveil.example",
        "tlsSecret": "reveil-tls",
        "firstTokenSecret": {"name": "reveil"},
    },
    "vault": {"masterKeySecret": {"name": "reveil"}},
}
SINGLE = {
    "image": {"repository": "registry.example/reveil", "digest": "sha256:" + "0" * 64},
    "replicaCount": 1,
    "config": '[warehouse]\ndriver = "sqlite"\n',
    "state": {"existingClaim": "reveil"},
    "server": {"allowPlaintext": True},
}
EVERYTHING = {
    **REPLICAS,
    "imagePullSecrets": [{"name": "pull"}],
    "env": [{"name": "META_TOKEN", "valueFrom": {"secretKeyRef": {"name": "reveil", "key": "meta-token"}}}],
    "secretFiles": [{"secret": "google", "mountPath": "/run/secrets/google"}],
    "serviceAccount": {"annotations": {"role": "r"}},
    "service": {"annotations": {"a": "b"}},
    "ingress": {"enabled": True, "className": "nginx", "host": "reveil.example", "tlsSecret": "t", "annotations": {"a": "b"}},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "growth"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "p"}, "tokenSecret": {"name": "reveil-metrics"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "p"}},
        "grafanaDashboard": {"enabled": True},
    },
}


def render(values):
    with helm.Chart.load(CHART) as chart:
        files = chart.render(values, name="demo", namespace="growth")
    documents = [
        document for name, text in files.items() if name.endswith(".yaml") for document in yaml.safe_load_all(text) if document
    ]
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def pod(values):
    return render(values)["Deployment", "demo-reveil"]["spec"]["template"]["spec"]


def environment(values):
    return {entry["name"]: entry for entry in pod(values)["containers"][0]["env"]}


class Chart(unittest.TestCase):
    def test_helm_lints_it(self):
        for values in (REPLICAS, SINGLE, EVERYTHING):
            report = helm.lint(CHART, values, strict=True)
            self.assertEqual(report["errors"], [])
            self.assertEqual([message for message in report["messages"] if message["severity"] > 1], [])

    def test_kubernetes_takes_what_it_makes(self):
        for values in (REPLICAS, SINGLE, EVERYTHING):
            for document in render(values).values():
                if document["apiVersion"].startswith("monitoring.coreos.com/"):
                    continue
                for version in KUBERNETES:
                    kubernetes_validate.validate(document, version, strict=True)

    def test_pods_meet_the_restricted_standard(self):
        for values in (REPLICAS, SINGLE, EVERYTHING):
            spec = pod(values)
            self.assertTrue(spec["securityContext"]["runAsNonRoot"])
            self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertFalse(spec["automountServiceAccountToken"])
            allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
            self.assertLessEqual({kind for volume in spec["volumes"] for kind in volume if kind != "name"}, allowed)
            for container in spec["containers"]:
                context = container["securityContext"]
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                self.assertFalse(context["allowPrivilegeEscalation"])
                self.assertTrue(context["readOnlyRootFilesystem"])

    def test_replicas_share_state_and_ledgers(self):
        has = environment(REPLICAS)
        self.assertEqual(has["REVEIL__LEDGER__STORE"]["value"], "s3://bucket/reveil")
        self.assertEqual(has["REVEIL__STATE__URL"]["valueFrom"]["secretKeyRef"], {"name": "reveil", "key": "url"})
        self.assertNotIn("REVEIL__STATE__URL", environment(SINGLE))

    def test_sqlite_has_one_owner(self):
        deployment = render(SINGLE)["Deployment", "demo-reveil"]["spec"]
        self.assertEqual(deployment["strategy"], {"type": "Recreate"})
        state = next(volume for volume in deployment["template"]["spec"]["volumes"] if volume["name"] == "state")
        self.assertEqual(state["persistentVolumeClaim"], {"claimName": "reveil"})

    def test_selectors_meet_the_pods(self):
        made = render(EVERYTHING)
        labels = made["Deployment", "demo-reveil"]["spec"]["template"]["metadata"]["labels"]
        selectors = [
            made["Service", "demo-reveil"]["spec"]["selector"],
            made["PodDisruptionBudget", "demo-reveil"]["spec"]["selector"]["matchLabels"],
            made["NetworkPolicy", "demo-reveil"]["spec"]["podSelector"]["matchLabels"],
            made["Deployment", "demo-reveil"]["spec"]["selector"]["matchLabels"],
        ]
        for selector in selectors:
            self.assertLessEqual(selector.items(), labels.items())
        monitor = made["ServiceMonitor", "demo-reveil"]["spec"]
        service = made["Service", "demo-reveil"]["metadata"]["labels"]
        self.assertLessEqual(monitor["selector"]["matchLabels"].items(), service.items())
        self.assertEqual(service[monitor["jobLabel"]], "reveil", "the rules ask for job=reveil")

    def test_the_config_comes_through_as_it_is(self):
        text = '[audience.a]\nlabel = "{{ not a template }}"\n\n[b]\n  c = """\n x\n"""\n'
        made = render({**REPLICAS, "config": text})
        self.assertEqual(made["ConfigMap", "demo-reveil"]["data"]["reveil.toml"], text)

    def test_rules_and_dashboard_are_the_files(self):
        made = render(EVERYTHING)
        rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
        self.assertEqual(made["PrometheusRule", "demo-reveil"]["spec"], rules)
        dashboard = (DEPLOY / "grafana" / "reveil.json").read_text()
        self.assertEqual(made["ConfigMap", "demo-reveil-dashboard"]["data"]["reveil.json"], dashboard)

    def test_wrong_values_are_refused(self):
        def without(values, *keys):
            values = copy.deepcopy(values)
            for key in keys:
                del values[key]
            return values

        wrong = {
            "a typing error": {**REPLICAS, "replicas": 3},
            "no image": without(REPLICAS, "image"),
            "no config": without(REPLICAS, "config"),
            "replicas on SQLite": without(REPLICAS, "state"),
            "replicas with ledgers of their own": without(REPLICAS, "ledger"),
            "plain HTTP that nobody asked for": without(REPLICAS, "server"),
            "an ingress without a host": {**REPLICAS, "ingress": {"enabled": True}},
            "a secret over another": {**REPLICAS, "secretFiles": [{"secret": "s", "mountPath": "/run/secrets/tls"}]},
        }
        for what, values in wrong.items():
            with self.subTest(what), self.assertRaises(helm.HelmError):
                render(values)

    def test_every_value_is_used_and_every_used_one_exists(self):
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        text = "".join(path.read_text() for path in (CHART / "templates").iterdir())
        used = set(re.findall(r"\.Values\.([A-Za-z]+)", text))
        self.assertEqual(used - set(values), set())
        # Read by the schema, which refuses what it does not allow.
        self.assertEqual(set(values) - used, set())
