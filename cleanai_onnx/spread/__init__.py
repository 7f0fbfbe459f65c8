"""A suite spread over workers: processes of this machine, or tasks of Ray.

`shard` is what one worker does, `spreading` gives out the shards, `ray_tasks` is the same over Ray,
and `team` is what a job asks for. What is done with a shard, and how products become the result of
one process, is in a module for each job: `spread_analysis`, `spread_learning`, `spread_inspection`.
"""
