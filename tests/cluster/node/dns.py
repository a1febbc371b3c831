#!/usr/bin/env python3
"""Keeps dnsmasq's hosts file equal to the cluster's Services, by watching Services and Endpoints.

usage: dns.py API-URL PKI-FOLDER HOSTS-FILE DNSMASQ-PID-FILE

No DNS server for Kubernetes is packaged for Debian. This one knows the A records of the specification: a Service's
cluster address, a headless Service's ready pods, and the pods' own names below it (StatefulSet). It has no SRV records and
no ExternalName.
"""

import http.client
import json
import os
import signal
import ssl
import sys
import threading
import time
import urllib.request

DOMAIN = "cluster.local"
KINDS = ("services", "endpoints")


class Resource:
    """One kind of object, mirrored from a list and the watch that goes on from it."""

    def __init__(self, api, kind, tls, changed):
        self.url = f"{api}/api/v1/{kind}"
        self.tls = tls
        self.changed = changed
        self.objects = {}

    def request(self, query=""):
        request = urllib.request.Request(self.url + query, headers={"User-Agent": "testbed-dns"})
        return urllib.request.urlopen(request, context=self.tls, timeout=None if query else 10)

    def follow(self):
        """Lists and watches for ever. A watch that ends, for whatever reason, starts over with a list."""
        while True:
            try:
                with self.request() as response:
                    listing = json.load(response)
                self.objects = {key_of(item): item for item in listing["items"]}
                self.changed.set()
                version = listing["metadata"]["resourceVersion"]
                with self.request(f"?watch=true&resourceVersion={version}") as events:
                    for line in events:
                        if not self.apply(json.loads(line)):
                            break
            except (OSError, ValueError, http.client.HTTPException) as error:
                print(f"{self.url}: {error}", flush=True)
                time.sleep(0.2)

    def apply(self, event):
        """Takes one event in; false if it says that the watch is over."""
        if event["type"] == "ERROR":
            return False
        item = event["object"]
        # A new dictionary each time: the writing thread may be reading the old one.
        objects = dict(self.objects)
        if event["type"] == "DELETED":
            objects.pop(key_of(item), None)
        else:
            objects[key_of(item)] = item
        self.objects = objects
        self.changed.set()
        return True


def key_of(item):
    return item["metadata"]["namespace"], item["metadata"]["name"]


def records(services, endpoints):
    """The lines of the hosts file: an address and a name each."""
    for (namespace, name), service in sorted(services.items()):
        fqdn = f"{name}.{namespace}.svc.{DOMAIN}"
        address = service["spec"].get("clusterIP")
        if address and address != "None":
            yield f"{address} {fqdn}"
        elif address == "None":
            for subset in endpoints.get((namespace, name), {}).get("subsets") or []:
                for pod in subset.get("addresses") or []:
                    yield f"{pod['ip']} {fqdn}"
                    if pod.get("hostname"):
                        yield f"{pod['ip']} {pod['hostname']}.{fqdn}"


def write(path, lines):
    with open(path + ".new", "w") as hosts:
        hosts.writelines(line + "\n" for line in lines)
    os.rename(path + ".new", path)


def stop_with_thread(failure):
    """A watch that dies of a fault of ours ends the program, and with it the node: stale answers would be worse."""
    sys.__excepthook__(failure.exc_type, failure.exc_value, failure.exc_traceback)
    os._exit(1)


def main():
    threading.excepthook = stop_with_thread
    api, pki, hosts_path, pid_path = sys.argv[1:]
    tls = ssl.create_default_context(cafile=f"{pki}/ca.crt")
    tls.load_cert_chain(f"{pki}/dns.crt", f"{pki}/dns.key")
    changed = threading.Event()
    services, endpoints = resources = [Resource(api, kind, tls, changed) for kind in KINDS]
    for resource in resources:
        threading.Thread(target=resource.follow, daemon=True).start()

    written = None
    while True:
        changed.wait()
        changed.clear()
        lines = list(records(services.objects, endpoints.objects))
        if lines != written:
            write(hosts_path, lines)
            # dnsmasq reads its files anew on this signal.
            with open(pid_path) as pid:
                os.kill(int(pid.read()), signal.SIGHUP)
            written = lines


if __name__ == "__main__":
    main()
