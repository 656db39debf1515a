// linear/quad — the products of linear.wgsl for software devices, where a load costs ten times what a
// multiplication does and no workgroup memory is fast. A workgroup is one quad: 2 × 2 invocations of 8 × 8 results
// each. Beside each other they need the same rows, below each other the same columns; so each loads four rows and
// four columns, and gets the other four from its neighbour. Half the loads of 8 × 8 results alone, in code as short.
enable subgroups;

// The results of one invocation, in four blocks. Four of its rows and columns it loads, the others a neighbour does.
struct Tile {
  row: u32,
  other_row: u32,
  column: u32,
  other_column: u32,
}

fn tile_of(group: u32, across: u32, lane: u32) -> Tile {
  let right = lane & 1u;
  let low = lane >> 1u;
  let row = group / across * 16u + low * 8u;
  let column = group % across * 16u + right * 8u;
  return Tile(row + right * 4u, row + 4u - right * 4u, column + low * 4u, column + 4u - low * 4u);
}

// What the neighbour in the same rows holds.
fn beside(block: mat4x4f) -> mat4x4f {
  return mat4x4f(quadSwapX(block[0]), quadSwapX(block[1]), quadSwapX(block[2]), quadSwapX(block[3]));
}

// What the neighbour in the same columns holds.
fn below(block: mat4x4f) -> mat4x4f {
  return mat4x4f(quadSwapY(block[0]), quadSwapY(block[1]), quadSwapY(block[2]), quadSwapY(block[3]));
}

// Where four neighbouring rows start, in vec4f; past the last row it is the last again.
fn four_rows(row: u32, count: u32, pitch: u32) -> vec4u {
  return min(vec4u(row) + vec4u(0u, 1u, 2u, 3u), vec4u(count - 1u)) * (pitch / 4u);
}

fn x_at(start: vec4u, k: u32) -> mat4x4f {
  return mat4x4f(x[start.x + k], x[start.y + k], x[start.z + k], x[start.w + k]);
}

fn w_at(start: vec4u, k: u32) -> mat4x4f {
  return mat4x4f(weight4(start.x + k), weight4(start.y + k), weight4(start.z + k), weight4(start.w + k));
}

fn dy_at(start: vec4u, o: u32) -> mat4x4f {
  return mat4x4f(dy[start.x + o], dy[start.y + o], dy[start.z + o], dy[start.w + o]);
}

fn dy_down(t: u32, column: u32) -> mat4x4f {
  return transpose(mat4x4f(dy_live(t, column), dy_live(t + 1u, column), dy_live(t + 2u, column), dy_live(t + 3u, column)));
}

@compute @workgroup_size(4)
fn forward_quad(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                @builtin(subgroup_invocation_id) lane: u32) {
  let tile = tile_of(flat_workgroup(group, groups), (params.out + 15u) / 16u, lane);
  let t = four_rows(tile.row, rows(), params.width);
  let o = four_rows(tile.column, params.out, params.width);
  var c00 = mat4x4f(); var c01 = mat4x4f(); var c10 = mat4x4f(); var c11 = mat4x4f();
  for (var k = 0u; k < params.width / 4u; k++) {
    let x0 = x_at(t, k); let x1 = beside(x0);
    let w0 = transpose(w_at(o, k)); let w1 = below(w0);
    c00 += w0 * x0; c01 += w1 * x0;
    c10 += w0 * x1; c11 += w1 * x1;
  }
  store_y_block(tile.row, tile.column, c00); store_y_block(tile.row, tile.other_column, c01);
  store_y_block(tile.other_row, tile.column, c10); store_y_block(tile.other_row, tile.other_column, c11);
}

@compute @workgroup_size(4)
fn backward_input_quad(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                       @builtin(subgroup_invocation_id) lane: u32) {
  let tile = tile_of(flat_workgroup(group, groups), (params.width + 15u) / 16u, lane);
  let t = four_rows(tile.row, rows(), params.stride);
  var c00 = mat4x4f(); var c01 = mat4x4f(); var c10 = mat4x4f(); var c11 = mat4x4f();
  for (var o = 0u; o < params.out; o += 4u) {
    let d0 = dy_at(t, (params.column + o) / 4u); let d1 = beside(d0);
    let w0 = w_at(four_rows(o, params.out, params.width), tile.column / 4u); let w1 = below(w0);
    c00 += w0 * d0; c01 += w1 * d0;
    c10 += w0 * d1; c11 += w1 * d1;
  }
  store_dx_block(tile.row, tile.column, c00); store_dx_block(tile.row, tile.other_column, c01);
  store_dx_block(tile.other_row, tile.column, c10); store_dx_block(tile.other_row, tile.other_column, c11);
}

@compute @workgroup_size(4)
fn backward_weight_quad(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                        @builtin(subgroup_invocation_id) lane: u32) {
  let tile = tile_of(flat_workgroup(group, groups), (params.width + 15u) / 16u, lane);
  var c00 = mat4x4f(); var c01 = mat4x4f(); var c10 = mat4x4f(); var c11 = mat4x4f();
  for (var t = 0u; t < rows(); t += 4u) {
    let d0 = dy_down(t, tile.row / 4u); let d1 = beside(d0);
    let x0 = x_at(four_rows(t, rows(), params.width), tile.column / 4u); let x1 = below(x0);
    c00 += x0 * d0; c01 += x1 * d0;
    c10 += x0 * d1; c11 += x1 * d1;
  }
  add_dw_block(tile.row, tile.column, c00); add_dw_block(tile.row, tile.other_column, c01);
  add_dw_block(tile.other_row, tile.column, c10); add_dw_block(tile.other_row, tile.other_column, c11);
}
