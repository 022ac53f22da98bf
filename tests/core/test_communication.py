"""Collectives are read from a program's text: kinds, sizes, groups, and how often they run."""

import pytest

from jaxgan.core.communication import Collective, collectives, totals

PROGRAM = """HloModule jit_step, is_scheduled=true, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%body (s: (s32[], f32[4])) -> (s32[], f32[4]) {
  %s = (s32[], f32[4]{0}) parameter(0)
  %x = f32[4]{0} get-tuple-element(%s), index=1
  %in_loop = f32[4]{0} all-reduce(%x), replica_groups={{0,1},{2,3},{4,5},{6,7}}, to_apply=%add
  ROOT %t = (s32[], f32[4]{0}) tuple(%x, %in_loop)
}

%unknown_body (s: (s32[], f32[4])) -> (s32[], f32[4]) {
  %s.1 = (s32[], f32[4]{0}) parameter(0)
  %inner = (s32[], f32[4]{0}) while(%s.1), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %permuted = (s32[], f32[4]{0}) collective-permute(%inner), source_target_pairs={{0,1},{1,0}}
}

%cond (s: (s32[], f32[4])) -> pred[] {
  %s.2 = (s32[], f32[4]{0}) parameter(0)
  ROOT %p = pred[] constant(false)
}

%all-reduce-scatter.1 (p: bf16[64,4]) -> bf16[8,4] {
  %p.1 = bf16[64,4]{1,0} parameter(0)
  %whole = bf16[64,4]{1,0} all-reduce(%p.1), replica_groups=[1,8]<=[8], to_apply=%add
  ROOT %cut = bf16[8,4]{1,0} dynamic-slice(%whole), dynamic_slice_sizes={8,4}
}

%wrapped (p: f32[2]) -> f32[16] {
  %p.2 = f32[2]{0} parameter(0)
  ROOT %g = f32[16]{0} all-gather(%p.2), replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}
}

ENTRY %main (p0: f32[3,5], p1: bf16[64,4], p2: f32[2]) -> f32[3,5] {
  %p0 = f32[3,5]{1,0:T(8,128)} parameter(0)
  %both = (f32[3,5]{1,0:T(8,128)}, /*index=1*/s32[]) all-reduce(%p0, %c), replica_groups={}, to_apply=%add
  %loop = (s32[], f32[4]{0}) while(%t0), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %endless = (s32[], f32[4]{0}) while(%t0), condition=%cond, body=%unknown_body
  %start = (f32[2]{0}, f32[8]{0}) all-gather-start(%p2), replica_groups=[2,4]<=[8], dimensions={0}
  %done = f32[8]{0} all-gather-done(%start)
  %mesh = f32[8]{0} all-gather(%p2), replica_groups=mesh['axis_0'=2,'axis_1'=4], device_ids=([2,4]T(1,0)) {'axis_1'}
  %alone = f32[3,5]{1,0} all-reduce(%p0), replica_groups={{0},{1},{2},{3},{4},{5},{6},{7}}, to_apply=%add
  %scattered = bf16[8,4]{1,0} fusion(%p1), kind=kCustom, calls=%all-reduce-scatter.1
  %rs = f32[2]{0} reduce-scatter(%q), replica_groups=[2,4]<=[8], dimensions={0}, to_apply=%add
  %begun = ((f32[2]{0}), f32[16]{0}) async-start(%p2), calls=%wrapped
  %ended = f32[16]{0} async-done(%begun), calls=%wrapped
  ROOT %exchanged = (f32[1,5]{1,0}, f32[1,5]{1,0}) all-to-all(%p3, %p4), replica_groups={{0,1},{2,3},{4,5},{6,7}}
}
"""


def test_every_collective_is_found_with_its_group_and_its_runs():
    found = {(c.kind, c.shapes, c.group_size, c.count, c.count_is_known) for c in collectives(PROGRAM)}
    assert found == {
        ("all-reduce", (("f32", (3, 5)), ("s32", ())), 8, 1, True),
        ("all-reduce", (("f32", (4,)),), 2, 8, False),  # 5 turns, and 3 in each turn of a loop of unknown length
        ("collective-permute", (("s32", ()), ("f32", (4,))), 8, 1, False),
        ("all-gather", (("f32", (8,)),), 4, 1, True),
        ("reduce-scatter", (("bf16", (64, 4)),), 8, 1, True),
        ("reduce-scatter", (("f32", (4, 2)),), 4, 1, True),
        ("all-gather", (("f32", (16,)),), 8, 1, True),
        ("all-to-all", (("f32", (1, 5)), ("f32", (1, 5))), 2, 1, True),
    }


def test_totals_add_executions_and_bytes():
    assert totals(collectives(PROGRAM)) == {
        "all-reduce": (1 + 8, 64 + 8 * 16),
        "all-gather": (3, 32 + 32 + 64),
        "reduce-scatter": (2, 512 + 32),
        "all-to-all": (1, 40),
        "collective-permute": (1, 20),
    }


@pytest.mark.parametrize(
    ("kind", "sent"),
    [("all-reduce", 1500.0), ("all-gather", 750.0), ("reduce-scatter", 750.0), ("collective-permute", 1000.0)],
)
def test_what_a_device_sends_on_a_ring(kind, sent):
    assert Collective(kind, (("f32", (250,)),), 4, 7, True).sent_bytes == sent  # of one execution


def test_a_program_without_communication():
    assert collectives("HloModule m\n\nENTRY %main (p: f32[]) -> f32[] {\n  ROOT %p = f32[] parameter(0)\n}\n") == []
