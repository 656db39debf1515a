// embedding — look up each token's row of the table.
//   forward   y = table[id] + so_far            for the ids in [row_start, row_start + slice_rows)
//   backward  absent: d so_far = dy, the same value; the table is frozen
// ids [rows]; y, so_far [rows, width]. The table is read through weight(i), one slice of its rows a dispatch;
// each writes the rows of y whose ids lie in its slice, so that together they write every row.
struct Params {
  rows_extent: u32,
  width: u32,
  row_start: u32,
  slice_rows: u32,
  has_so_far: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read> so_far: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  let row = i / params.width;
  if (row >= extent(params.rows_extent)) {
    return;
  }
  // An id before the slice wraps around to a large number.
  let table_row = ids[row] - params.row_start;
  if (table_row >= params.slice_rows) {
    return;
  }
  var sum = weight(table_row * params.width + i % params.width);
  if (params.has_so_far != 0u) {
    sum += so_far[i];
  }
  y[i] = sum;
}
