"""The loop that ties the rooms together: batches through a tapped model into states, and a result.

`analyzer` is the loop; `runner` runs the tapped model, `planning` decides on its batches, `feeding`
brings images to it, `findings` turns the states into tables, and `individuals`, `image_tables` and
`subset` keep what is asked about single images.
"""
