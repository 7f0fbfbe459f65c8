"""A suite spread over workers: processes of this machine, or tasks of Ray.

`shard` is what one worker does, `spreading` gives out the shards and merges their states,
`ray_tasks` is the same over Ray, and `spread_analysis` makes the result of one process of it.
"""
