from __future__ import annotations
import time, json
def show(name, ended):
    print(f"\n#### {name}: exit {ended.code}\n--- stdout\n{ended.out[-1500:]}\n--- stderr\n{ended.err}")

def test_a(fluxperf, mock):
    fluxperf.write_prompts(8)
    for words in (["--concurrency","2"],["--concurrency","2","--workers","1","--rounds","1"]):
        t=time.monotonic(); e=fluxperf.measure(mock.url, *words, "--max-output-tokens", "4"); print(time.monotonic()-t)
    show("a", e)
    print(mock.truth(), fluxperf.round(2,1)["summary"])

def test_echo(fluxperf, serve):
    fluxperf.write_prompts(4)
    s=serve(lambda x: x.stream("a ", x.headers["authorization"]))
    e=fluxperf.measure(s.url,"--api-key","sk-verysecret","--save-requests","--debug-verbose","--rounds","1"); show("echo",e)
    import subprocess
    print(subprocess.run("grep -rl verysecret .",shell=True,cwd=fluxperf.place,capture_output=True,text=True).stdout)
    s=serve(lambda x: x.answer(401, "x"*280+ " "+x.headers["authorization"]))
    e=fluxperf.measure(s.url,"--api-key","sk-verysecret","--rounds","1"); show("echo401",e)

def test_401(fluxperf, serve):
    fluxperf.write_prompts(10)
    for st,t,ct in ((401,'{"error":{"message":"no such key"}}',"application/json"),(404,"{\"detail\":\"Not Found\"}","application/json"),(405,"x","text/plain"),(200,"<html><h1>Welcome</h1></html>","text/html"),(500,"oops","text/plain")):
        s=serve(lambda x: x.answer(st,t,ct))
        e=fluxperf.measure(s.url,"--concurrency","3"); show(st,e); print(len(s.bodies))

def test_closed(fluxperf, mock):
    fluxperf.write_prompts(3)
    import os
    for k in ("stdout","stderr"):
        r=fluxperf.start(*fluxperf.measuring(mock.url), preexec_fn=lambda: os.close(1 if k=="stdout" else 2))
        show("closed "+k, r.end())

def test_debugdir(fluxperf, mock):
    fluxperf.write_prompts(3)
    (fluxperf.place/"debug_logs").write_text("")
    fluxperf.measure(mock.url)
    show("debugdir", fluxperf.measure(mock.url,"--debug"))
    print(list(fluxperf.place.iterdir()))
    show("dataset dir", fluxperf("--endpoint",mock.url,"--dataset","."))
    show("ports", fluxperf("--mock-server","--dataset","prompts.jsonl","--mock-port",mock.url.split(":")[2].split("/")[0]))
    show("header", fluxperf("--endpoint",mock.url,"--dataset","prompts.jsonl","--header","Authorization: Bearer abcsecret", "--label","token=abcsecret"))
    import subprocess
    print(subprocess.run("grep -rl abcsecret .",shell=True,cwd=fluxperf.place,capture_output=True,text=True).stdout)
