"""Which workers have ended."""

import os
import subprocess
import sys

import psutil

from spinelab.archive.workers import is_gone, name_worker


def renamed(number=None, began=None, machine=None):
    own_machine, own_number, own_began = name_worker().rsplit(":", 2)
    return f"{machine or own_machine}:{number or own_number}:{began or own_began}"


def test_we_are_here():
    assert str(os.getpid()) in name_worker()
    assert not is_gone(name_worker())


def test_one_that_has_ended_is_gone_even_before_it_is_reaped():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = renamed(number=child.pid, began=f"{psutil.Process(child.pid).create_time():.0f}")
    assert not is_gone(name)
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert is_gone(name)
    child.wait()
    assert is_gone(name)


def test_another_process_with_its_number_is_not_it():
    assert is_gone(renamed(began="1000"))


def test_those_of_other_machines_are_left_alone():
    assert not is_gone(renamed(machine="elsewhere/1/2", number=999_999_999))
    assert not is_gone("somebody")
    assert not is_gone("")


def test_one_that_may_not_be_asked_is_left_alone(monkeypatch):
    def refuse(number):
        raise psutil.AccessDenied(number)

    name = name_worker()
    monkeypatch.setattr(psutil, "Process", refuse)
    assert not is_gone(name)
